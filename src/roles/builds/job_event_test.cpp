#include "roles/builds/job_event.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/json.h"
#include "domain/pipeline/planner.h"
#include "roles/builds/records.h"
#include "support/seeded_entropy.h"
#include "support/virtual_clock.h"

namespace mayfly {
namespace {

using testing::ElementsAre;

struct JobEvent : testing::Test {
  VirtualClock clock;
  SeededEntropy entropy{3};
  BuildId build = make_id<BuildId>(clock, entropy);
  JobId job = make_id<JobId>(clock, entropy);
  JobSpec spec;

  void step(std::string run) { spec.steps.push_back({.name = "step", .run = std::move(run)}); }
  json::value event() {
    text = job_event(build, job, spec);
    return parse_json(text).value();
  }
  std::string text;
};

std::vector<std::string> keys(const json::object& object) {
  std::vector<std::string> out;
  for (auto& member : object) out.push_back(member.key());
  return out;
}

TEST_F(JobEvent, SaysWhatWillBeRun) {
  spec.image = "debian:12";
  spec.env = {{"A", "1"}, {"B", "two\nlines"}};
  step("make");
  step("make test");
  auto said = event();
  EXPECT_THAT(keys(said.as_object()), ElementsAre("build_id", "job_id", "image", "commands", "env_vars"));
  EXPECT_EQ(said.at("build_id"), json::value(build.str()));
  EXPECT_EQ(said.at("job_id"), json::value(job.str()));
  EXPECT_EQ(said.at("image"), json::value("debian:12"));
  EXPECT_EQ(said.at("commands"), (json::value{"make", "make test"}));
  EXPECT_EQ(said.at("env_vars"), (json::value{{"A", "1"}, {"B", "two\nlines"}}));
}

// What a pipeline says of a secret is its name; nothing that is said on the bus about a job asks for its value.
TEST_F(JobEvent, OfAJobWithSecretsHoldsWhatThePipelineSaysAndNoMore) {
  auto planned = plan({{".ci.yaml", "jobs:\n  deploy:\n    secrets: [DEPLOY_TOKEN]\n    env: {WHERE: production}\n    steps: [{run: './deploy \"$DEPLOY_TOKEN\"'}]\n"}}, {.ref = "refs/heads/main"});
  ASSERT_TRUE(planned) << to_string(planned.error().at(0));
  ASSERT_TRUE(planned->plan) << planned->no_build;
  BuildRecord record;
  record.state.id = record.header.id = build;
  JobState state;
  state.id = job;
  state.spec = std::make_shared<const JobSpec>(planned->plan->jobs.at(0));
  ASSERT_THAT(state.spec->secrets, ElementsAre("DEPLOY_TOKEN"));
  record.state.jobs.push_back(std::move(state));
  auto effects = begin(record.state, clock.now());
  auto change = insert_build(record, effects, clock, entropy);
  auto row = std::ranges::find(change.outbox, std::string(topic::jobs), &OutboxRow::topic);
  ASSERT_NE(row, change.outbox.end());
  auto said = parse_json(row->payload).value();
  EXPECT_THAT(keys(said.as_object()), ElementsAre("build_id", "job_id", "image", "commands", "env_vars"));
  EXPECT_EQ(said.at("env_vars"), (json::value{{"WHERE", "production"}}));
  EXPECT_EQ(said.at("commands"), (json::value{"./deploy \"$DEPLOY_TOKEN\""}));
  EXPECT_EQ(row->key.size() + max_job_event_bytes, max_message_bytes) << "the limit counts its key";
}

TEST_F(JobEvent, AtTheLimitIsWholeAndOneByteMoreLeavesOutTheLastCommand) {
  step("first");
  step("");
  auto spare = max_job_event_bytes - job_event(build, job, spec).size();
  spec.steps[1].run = std::string(spare, 'x');
  auto largest = event();
  EXPECT_EQ(text.size(), max_job_event_bytes);
  EXPECT_FALSE(largest.as_object().contains("left_out"));
  spec.steps[1].run += 'x';
  auto shorter = event();
  EXPECT_LE(text.size(), max_job_event_bytes);
  EXPECT_EQ(shorter.at("commands"), json::value{"first"});
  EXPECT_EQ(shorter.at("left_out"), (json::value{{"commands", 1}, {"env_vars", 0}, {"image", 0}}));
}

TEST_F(JobEvent, WhatHasNoRoomIsCountedWhateverItIs) {
  spec.image = std::string(2'000'000, 'i');
  for (int i = 0; i < 200; ++i) step(std::string(10'000, '\x01'));  // six bytes each in JSON
  for (int i = 0; i < 50; ++i) spec.env["V" + std::to_string(i)] = std::string(i % 2 ? 90'000 : 10, '"');
  auto said = event();
  EXPECT_LE(text.size(), max_job_event_bytes);
  EXPECT_EQ(said.at("image"), json::value(""));
  auto count = [&](const char* what) { return said.at("left_out").at(what).as_int64(); };
  EXPECT_EQ(count("image"), 1);
  EXPECT_EQ(said.at("commands").as_array().size() + std::size_t(count("commands")), 200u);
  EXPECT_EQ(said.at("env_vars").as_object().size() + std::size_t(count("env_vars")), 50u);
  EXPECT_EQ(said.at("commands").as_array().size(), 16u) << "as many as there is room for";
  EXPECT_GE(said.at("env_vars").as_object().size(), 25u) << "the small ones still have room";
}

TEST_F(JobEvent, ManySmallCommandsAreCountedToo) {
  for (int i = 0; i < 300'000; ++i) step("true");
  auto said = event();
  EXPECT_LE(text.size(), max_job_event_bytes);
  EXPECT_GT(text.size(), max_job_event_bytes - 20) << "no room is wasted";
  EXPECT_EQ(said.at("commands").as_array().size() + std::size_t(said.at("left_out").at("commands").as_int64()), 300'000u);
}

}  // namespace
}  // namespace mayfly
