#include "roles/builds/retry.h"

#include <gtest/gtest.h>

#include "support/seeded_entropy.h"
#include "support/virtual_clock.h"

namespace mayfly {
namespace {

struct Retry : testing::Test {
  VirtualClock clock;
  SeededEntropy entropy{7};
  BuildRecord build;

  void job(std::string name, JobStatus status, std::vector<std::string> needs = {}) {
    JobSpec spec;
    spec.name = spec.base_name = std::move(name);
    spec.needs = std::move(needs);
    JobState state;
    state.id = make_id<JobId>(clock, entropy);
    state.spec = std::make_shared<const JobSpec>(std::move(spec));
    state.status = status;
    build.state.jobs.push_back(std::move(state));
    link_needs(build.state);
  }
  std::vector<JobStatus> again(std::vector<std::string> jobs = {}) {
    build.state.status = BuildStatus::failed;
    auto made = retry_of(build, jobs, clock, entropy).value();
    std::vector<JobStatus> out;
    for (auto& j : made.state.jobs) out.push_back(j.status);
    return out;
  }
};

constexpr auto cached = JobStatus::cached, waiting = JobStatus::waiting;

TEST_F(Retry, RunsWhatDidNotSucceedAndWhatNeedsIt) {
  job("a", JobStatus::succeeded);
  job("b", JobStatus::failed, {"a"});
  job("c", JobStatus::skipped, {"b"});
  job("d", JobStatus::succeeded, {"a"});
  EXPECT_EQ(again(), (std::vector{cached, waiting, waiting, cached}));
}

TEST_F(Retry, ANamedJobTakesThoseThatNeedItWithIt) {
  job("a", JobStatus::succeeded);
  job("b", JobStatus::succeeded, {"a"});
  job("c", JobStatus::succeeded);
  EXPECT_EQ(again({"a"}), (std::vector{waiting, waiting, cached}));
  EXPECT_EQ(again(), (std::vector{waiting, waiting, waiting}));
}

TEST_F(Retry, NamesThatDoNotExistAreSaid) {
  job("a", JobStatus::succeeded);
  build.state.status = BuildStatus::succeeded;
  auto made = retry_of(build, {"a", "x", "y"}, clock, entropy);
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, Errc::not_found);
  EXPECT_NE(made.error().message.find("'x', 'y'"), std::string::npos);
}

TEST_F(Retry, ABuildThatHasNotEndedIsNotRetried) {
  job("a", JobStatus::running);
  build.state.status = BuildStatus::running;
  EXPECT_EQ(retry_of(build, {}, clock, entropy).error().code, Errc::conflict);
}

TEST_F(Retry, ACachedJobNamesTheOneThatDidTheWork) {
  job("a", JobStatus::succeeded);
  job("b", JobStatus::failed);
  build.state.status = BuildStatus::failed;
  auto second = retry_of(build, {}, clock, entropy).value();
  EXPECT_EQ(second.state.jobs[0].source_job, build.state.jobs[0].id);
  second.state.status = BuildStatus::failed;
  link_needs(second.state);
  second.state.jobs[1].status = JobStatus::failed;
  auto third = retry_of(second, {}, clock, entropy).value();
  EXPECT_EQ(third.state.jobs[0].source_job, build.state.jobs[0].id);
}

}  // namespace
}  // namespace mayfly
