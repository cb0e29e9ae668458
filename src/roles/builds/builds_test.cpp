// Many processes change the same builds: each has its own Builds over the one database.

#include "roles/builds/builds.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "adapters/memory/bus.h"
#include "adapters/memory/cache.h"
#include "roles/common/projects.h"
#include "roles/schema.h"
#include "support/run.h"
#include "support/seeded_entropy.h"
#include "support/test_database.h"
#include "support/virtual_clock.h"

namespace mayfly {
namespace {

struct TwoProcesses : testing::Test {
  VirtualClock clock;
  SeededEntropy entropy{1};
  TestLoop loop{clock};
  std::unique_ptr<Database> db = make_test_database(schema());
  std::unique_ptr<Bus> bus = make_memory_bus(clock);
  std::unique_ptr<Cache> cache = make_memory_cache(clock);
  Builds here{*db, *bus, *cache, clock, entropy}, there{*db, *bus, *cache, clock, entropy};
  BuildId build;
  JobId job;

  void SetUp() override {
    auto project = loop.run(add_project(*db, clock, entropy, {.name = "web", .repo_url = "/srv/web.git"})).value();
    BuildRecord record;
    build = record.header.id = record.state.id = make_id<BuildId>(clock, entropy);
    record.header.project = record.state.project = project.id;
    record.header.organization = record.state.organization = project.organization;
    JobSpec spec;
    spec.name = "only";
    spec.steps.push_back({.name = "say", .run = "echo"});
    JobState state;
    job = state.id = make_id<JobId>(clock, entropy);
    state.spec = std::make_shared<const JobSpec>(std::move(spec));
    record.state.jobs.push_back(std::move(state));
    ASSERT_TRUE(loop.run(here.create(std::move(record), {})));
  }
  Result<void> change(Builds& process, BuildEvent event) { return loop.run(process.change(build, std::move(event))); }
  JobState seen(Builds& process) { return loop.run(process.get(build)).value()->state.jobs.at(0); }
  Fence assign(Builds& process) {
    EXPECT_TRUE(change(process, Assign{job, "local", make_id<AttemptId>(clock, entropy)}));
    return seen(process).fence;
  }
};

TEST_F(TwoProcesses, WhatOneStoredTheOtherShows) {
  EXPECT_EQ(seen(there).status, JobStatus::queued);
  assign(here);
  EXPECT_EQ(seen(there).status, JobStatus::assigned);
}

TEST_F(TwoProcesses, ARefusalIsNeverDecidedOnAnOldState) {
  EXPECT_EQ(seen(there).status, JobStatus::queued);  // now it remembers
  auto fence = assign(here);
  EXPECT_TRUE(change(there, Start{job, fence, "runner"})) << "the attempt is younger than what this process remembers";
  EXPECT_EQ(seen(here).status, JobStatus::running);
}

TEST_F(TwoProcesses, OfTwoThatAssignOneDoes) {
  (void)seen(there);
  assign(here);
  auto late = change(there, Assign{job, "local", make_id<AttemptId>(clock, entropy)});
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, Errc::conflict);
  EXPECT_EQ(seen(there).attempt, 1);
}

TEST_F(TwoProcesses, AnUnknownBuildIsNotFound) {
  auto none = loop.run(here.change(make_id<BuildId>(clock, entropy), CancelBuild{"nobody"}));
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, Errc::not_found);
}

TEST_F(TwoProcesses, TheNumberIsKnownAtOnce) { EXPECT_EQ(loop.run(here.get(build)).value()->header.number, 1); }

}  // namespace
}  // namespace mayfly
