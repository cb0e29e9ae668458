#include "domain/build/state.h"

#include <gtest/gtest.h>

#include "domain/build/latency.h"

namespace mayfly {
namespace {

using namespace std::chrono_literals;

JobId job_id(std::uint8_t n) {
  JobId id;
  id.value.bytes[15] = n;
  return id;
}

AttemptId attempt_id(std::uint8_t n) {
  AttemptId id;
  id.value.bytes[15] = n;
  return id;
}

JobSpec named(std::string name, std::vector<std::string> needs = {}) {
  JobSpec spec;
  spec.name = spec.base_name = std::move(name);
  spec.needs = std::move(needs);
  spec.steps = {{.name = "run", .run = "true"}};
  return spec;
}

struct Story : testing::Test {
  BuildState build;
  Time now = from_micros(1'000'000'000);
  std::uint8_t attempts = 0;

  Effects with(std::vector<JobSpec> specs) {
    for (auto& spec : specs)
      build.jobs.push_back({.id = job_id(std::uint8_t(build.jobs.size() + 1)), .spec = std::make_shared<const JobSpec>(std::move(spec))});
    link_needs(build);
    return begin(build, now);
  }
  JobState& job(std::size_t i) { return build.jobs[i]; }
  Effects must(BuildEvent event) {
    auto before = build.sequence;
    auto effects = apply(build, event, now);
    EXPECT_TRUE(effects) << (effects ? "" : effects.error().message);
    EXPECT_EQ(build.sequence, before + (effects->empty() ? 0 : 1));
    return *effects;
  }
  void run(std::size_t i) {
    must(Assign{job(i).id, "local", attempt_id(++attempts)});
    must(Start{job(i).id, job(i).fence, "r" + std::to_string(attempts)});
  }
  Effects end(std::size_t i, Outcome outcome, Reason reason = Reason::none) {
    return must(Finish{job(i).id, job(i).fence, {.outcome = outcome, .reason = reason}});
  }
};

TEST_F(Story, ADiamondRunsInOrderAndSucceeds) {
  auto first = with({named("a"), named("b", {"a"}), named("c", {"a"}), named("d", {"b", "c"})});
  EXPECT_EQ(first.queued, std::vector<std::size_t>{0});
  run(0);
  EXPECT_EQ(build.status, BuildStatus::running);
  EXPECT_EQ(end(0, Outcome::success).queued, (std::vector<std::size_t>{1, 2}));
  run(1);
  run(2);
  EXPECT_TRUE(end(1, Outcome::success).queued.empty());
  EXPECT_EQ(end(2, Outcome::success).queued, std::vector<std::size_t>{3});
  run(3);
  EXPECT_TRUE(end(3, Outcome::success).build_changed);
  EXPECT_EQ(build.status, BuildStatus::succeeded);
  EXPECT_EQ(build.end_time, now);
}

TEST_F(Story, WhatNeedsAFailedJobIsSkippedAllTheWayDown) {
  with({named("a"), named("b", {"a"}), named("c", {"b"})});
  run(0);
  end(0, Outcome::failure, Reason::exit_code);
  EXPECT_EQ(job(1).status, JobStatus::skipped);
  EXPECT_EQ(job(1).reason, Reason::needs_failed);
  EXPECT_EQ(job(2).status, JobStatus::skipped);
  EXPECT_EQ(build.status, BuildStatus::failed);
}

TEST_F(Story, AnAllowedFailureHoldsNothingBack) {
  auto flaky = named("a");
  flaky.allow_failure = true;
  with({flaky, named("b", {"a"})});
  run(0);
  end(0, Outcome::failure, Reason::exit_code);
  EXPECT_EQ(job(0).status, JobStatus::failed);
  run(1);
  end(1, Outcome::success);
  EXPECT_EQ(build.status, BuildStatus::succeeded);
}

TEST_F(Story, AConditionDecidesWhenTheNeedsHaveEnded) {
  auto cleanup = named("cleanup", {"a"}), alarm = named("alarm", {"a"});
  cleanup.condition = "always()";
  alarm.condition = "success()";
  with({named("a"), cleanup, alarm});
  run(0);
  end(0, Outcome::failure, Reason::exit_code);
  EXPECT_EQ(job(1).status, JobStatus::queued);
  EXPECT_EQ(job(2).status, JobStatus::skipped);
}

TEST_F(Story, ANeedThatWasSkippedIsNoFailure) {
  auto left_out = named("a"), on_failure = named("b", {"a"}), anyway = named("c", {"a"});
  left_out.skipped = true;
  on_failure.condition = "failure()";
  anyway.condition = "always()";
  with({left_out, on_failure, anyway});
  EXPECT_EQ(job(1).status, JobStatus::skipped);
  EXPECT_EQ(job(2).status, JobStatus::queued);
}

TEST_F(Story, InfrastructureIsRetriedFreeThreeTimesWithBackoff) {
  with({named("a")});
  for (int i = 0; i < max_infrastructure_retries; ++i) {
    run(0);
    auto effects = must(Lose{job(0).id, job(0).fence, Reason::runner_lost, "gone"});
    EXPECT_EQ(effects.queued, std::vector<std::size_t>{0});
    EXPECT_EQ(effects.ended.at(0).outcome, Outcome::infrastructure);
    EXPECT_EQ(effects.stops.size(), 1u);
    EXPECT_EQ(job(0).not_before, now + infrastructure_backoff(i));
  }
  run(0);
  EXPECT_EQ(job(0).attempt, 4);
  must(Lose{job(0).id, job(0).fence, Reason::runner_lost, "gone"});
  EXPECT_EQ(job(0).status, JobStatus::failed);
  EXPECT_EQ(job(0).reason, Reason::runner_lost);
  EXPECT_EQ(build.status, BuildStatus::failed);
}

TEST_F(Story, ARefusalIsNotTriedAgain) {
  with({named("a")});
  must(Assign{job(0).id, "local", attempt_id(++attempts)});
  must(Lose{job(0).id, job(0).fence, Reason::refused, "no such isolation"});
  EXPECT_EQ(job(0).status, JobStatus::failed);
  EXPECT_EQ(job(0).reason, Reason::refused);
}

TEST_F(Story, AServiceThatEndsIsTheUsersFailure) {
  auto retried = named("a");
  retried.retry = {.max = 1};
  with({retried});
  run(0);
  auto effects = must(Lose{job(0).id, job(0).fence, Reason::service, "'db' ended"});
  EXPECT_EQ(effects.ended.at(0).outcome, Outcome::failure);
  EXPECT_EQ(job(0).user_retries, 1);
  EXPECT_EQ(job(0).infrastructure_retries, 0);
}

TEST_F(Story, AUsersFailureIsRetriedOnlyWhenThePipelineAsks) {
  auto retried = named("b");
  retried.retry = {.max = 1, .on_timeout = false};
  with({named("a"), retried});
  run(0);
  end(0, Outcome::failure, Reason::exit_code);
  EXPECT_EQ(job(0).status, JobStatus::failed);
  run(1);
  end(1, Outcome::failure, Reason::exit_code);
  EXPECT_EQ(job(1).status, JobStatus::queued);
  run(1);
  end(1, Outcome::success);
  EXPECT_EQ(job(1).status, JobStatus::succeeded);
  EXPECT_EQ(job(1).attempt, 2);
}

TEST_F(Story, AReasonThatIsNotAskedForIsNotRetried) {
  auto spec = named("a");
  spec.retry = {.max = 1, .on_timeout = false};
  with({spec});
  run(0);
  end(0, Outcome::timeout, Reason::timeout);
  EXPECT_EQ(job(0).status, JobStatus::failed);
}

TEST_F(Story, ASecondRunnerAndAStaleOneAreRefused) {
  with({named("a")});
  run(0);
  auto stale = job(0).fence;
  EXPECT_TRUE(must(Start{job(0).id, stale, job(0).runner_id}).empty());
  EXPECT_EQ(apply(build, Start{job(0).id, stale, "another"}, now).error().code, Errc::conflict);
  must(Lose{job(0).id, stale, Reason::runner_lost, "gone"});
  run(0);
  EXPECT_EQ(apply(build, Finish{job(0).id, stale, {.outcome = Outcome::success}}, now).error().code, Errc::fenced);
  EXPECT_EQ(apply(build, ReportSteps{job(0).id, stale, {}}, now).error().code, Errc::fenced);
  EXPECT_EQ(job(0).status, JobStatus::running);
}

TEST_F(Story, AHeldJobSaysUntilWhenAndIsReleasedForGood) {
  with({named("a")});
  run(0);
  auto fence = job(0).fence;
  auto until = now + std::chrono::minutes(15);
  must(ReportSteps{job(0).id, fence, job(0).steps, {}, until});
  EXPECT_EQ(job(0).status, JobStatus::running);
  EXPECT_EQ(job(0).held_until, until);
  EXPECT_TRUE(job(0).detail.starts_with("held for a shell until ")) << job(0).detail;
  must(ReleaseJob{job(0).id, "ada"});
  EXPECT_EQ(job(0).held_until, now);
  EXPECT_EQ(job(0).detail, "released by ada");
  EXPECT_TRUE(must(ReleaseJob{job(0).id, "bob"}).empty()) << "once is enough";
  EXPECT_TRUE(must(ReportSteps{job(0).id, fence, job(0).steps, {}, until}).empty()) << "a late report does not hold it again";
  must(ReportSteps{job(0).id, fence, job(0).steps, {}, std::nullopt});
  EXPECT_EQ(job(0).held_until, std::nullopt);
  EXPECT_EQ(job(0).detail, "");
  EXPECT_EQ(apply(build, ReleaseJob{job(0).id, "ada"}, now).error().code, Errc::conflict);
}

TEST_F(Story, AHoldEndsWithTheJob) {
  with({named("a")});
  run(0);
  must(ReportSteps{job(0).id, job(0).fence, job(0).steps, {}, now + std::chrono::minutes(15)});
  must(CancelBuild{"ada"});
  EXPECT_EQ(job(0).held_until, std::nullopt);
}

TEST_F(Story, ShellsAreHistoryAndNothingElse) {
  with({named("a")});
  EXPECT_EQ(apply(build, NoteShell{job(0).id, {.shell = "s", .who = "ada"}}, now).error().code, Errc::conflict) << "it does not run yet";
  run(0);
  auto before = build;
  auto effects = must(NoteShell{job(0).id, {.shell = "s", .who = "ada", .attempt = 1}});
  ASSERT_EQ(effects.shells.size(), 1u);
  EXPECT_EQ(effects.shells[0].second.who, "ada");
  EXPECT_TRUE(effects.changed.empty());
  EXPECT_EQ(build.sequence, before.sequence + 1);
  EXPECT_EQ(build.jobs, before.jobs);
  end(0, Outcome::success);
  EXPECT_FALSE(must(NoteShell{job(0).id, {.shell = "s", .who = "ada", .attempt = 1, .opened = false}}).empty()) << "its end may be heard of later";
}

TEST_F(Story, AFinishSaidTwiceHappensOnce) {
  with({named("a")});
  run(0);
  auto fence = job(0).fence;
  end(0, Outcome::success);
  EXPECT_TRUE(must(Finish{job(0).id, fence, {.outcome = Outcome::failure, .reason = Reason::exit_code}}).empty());
  EXPECT_EQ(job(0).status, JobStatus::succeeded);
}

TEST_F(Story, CancelEndsEverythingAtOnceAndStopsWhatRuns) {
  auto always = named("c", {"a"});
  always.condition = "always()";
  with({named("a"), named("b"), always});
  run(0);
  auto effects = must(CancelBuild{"ada"});
  EXPECT_EQ(build.status, BuildStatus::canceled);
  for (auto& j : build.jobs) EXPECT_EQ(j.status, JobStatus::canceled);
  EXPECT_EQ(effects.stops, (std::vector<StopRunner>{{job(0).attempt_id, "local"}}));
  EXPECT_TRUE(must(CancelBuild{"ada"}).empty());
  // The runner's last words complete the record and change nothing else.
  auto last = must(Finish{job(0).id, job(0).fence, {.outcome = Outcome::success, .log_bytes = 10}});
  EXPECT_EQ(job(0).status, JobStatus::canceled);
  EXPECT_EQ(last.ended.at(0).log_bytes, 10);
}

TEST_F(Story, AFailedMatrixJobCancelsItsSiblings) {
  auto one = named("t (1)"), two = named("t (2)"), three = named("t (3)"), other = named("lint");
  for (auto* spec : {&one, &two, &three}) {
    spec->base_name = "t";
    spec->matrix = {{"n", spec->name}};
  }
  with({one, two, three, other});
  run(0);
  run(1);
  end(0, Outcome::failure, Reason::exit_code);
  EXPECT_EQ(job(1).status, JobStatus::canceled);
  EXPECT_EQ(job(1).reason, Reason::fail_fast);
  EXPECT_EQ(job(2).status, JobStatus::canceled);
  EXPECT_EQ(job(3).status, JobStatus::queued);
  run(3);
  end(3, Outcome::success);
  EXPECT_EQ(build.status, BuildStatus::failed);
}

TEST_F(Story, ATerminalJobNeverLeavesItsStatus) {
  with({named("a"), named("b")});
  run(0);
  end(0, Outcome::success);
  auto fence = job(0).fence;
  for (BuildEvent event : std::initializer_list<BuildEvent>{
           Assign{job(0).id, "local", attempt_id(99)}, Start{job(0).id, fence, "x"}, ReportSteps{job(0).id, fence, {}},
           Finish{job(0).id, fence, {.outcome = Outcome::failure}}, Lose{job(0).id, fence, Reason::runner_lost, ""},
           CancelJob{job(0).id, Reason::canceled, ""}}) {
    (void)apply(build, event, now);
    EXPECT_EQ(job(0).status, JobStatus::succeeded) << event.index();
  }
}

TEST_F(Story, AnAttemptThatNeverBeganInAPoolThatIsGoneCountsForNothing) {
  with({named("a")});
  for (int n = 0; n < 3 * max_infrastructure_retries; ++n) {
    must(Assign{job(0).id, "gone", attempt_id(++attempts)});
    auto effects = must(Lose{job(0).id, job(0).fence, Reason::pool_lost, "nobody keeps it"});
    ASSERT_EQ(job(0).status, JobStatus::queued);
    ASSERT_EQ(effects.ended.size(), 1u);
    EXPECT_EQ(effects.ended[0].outcome, Outcome::infrastructure);
    EXPECT_EQ(effects.stops.size(), 1u);
    EXPECT_LE(job(0).not_before, now);
  }
  EXPECT_EQ(job(0).infrastructure_retries, 0);
  EXPECT_EQ(job(0).attempt, 3 * max_infrastructure_retries);
}

TEST_F(Story, WhatRunsInAPoolThatIsGoneIsLeftAlone) {
  with({named("a")});
  run(0);
  EXPECT_TRUE(must(Lose{job(0).id, job(0).fence, Reason::pool_lost, "nobody keeps it"}).empty());
  EXPECT_EQ(job(0).status, JobStatus::running);
}

TEST_F(Story, TheHopsOfAStartAddUpToTheWhole) {
  BuildOrigin origin{.received_at = now, .planned_from = now + 2ms};
  now += 12ms;
  with({named("a"), named("b", {"a"})});
  now += 3ms;
  must(Assign{job(0).id, "local", attempt_id(1)});
  now += 5ms;
  must(Start{job(0).id, job(0).fence, "r", std::nullopt, now - 1ms});
  EXPECT_EQ(start_latency(origin, job(0)).total, std::nullopt);
  now += 7ms;
  auto effects = must(Finish{job(0).id, job(0).fence, {.outcome = Outcome::success, .first_byte_at = now - 1ms}});
  EXPECT_EQ(effects.first_bytes, std::vector<std::size_t>{0});
  auto latency = start_latency(origin, job(0));
  EXPECT_EQ(latency, (StartLatency{{2ms, 10ms, 3ms, 4ms, 1ms, 6ms}, 26ms}));

  // What needs another begins where it is queued.
  run(1);
  now += 2ms;
  must(Finish{job(1).id, job(1).fence, {.outcome = Outcome::success, .first_byte_at = now}});
  EXPECT_EQ(start_latency(origin, job(1)), (StartLatency{{std::nullopt, std::nullopt, 0ms, std::nullopt, 0ms, 2ms}, 2ms}));
}

TEST_F(Story, ClocksThatDifferMakeNoHopNegative) {
  with({named("a")});
  now += 1s;
  must(Assign{job(0).id, "local", attempt_id(1)});
  now += 1s;
  must(Start{job(0).id, job(0).fence, "r", std::nullopt, now + 1h});
  EXPECT_EQ(job(0).born_at, now);
  must(Finish{job(0).id, job(0).fence, {.outcome = Outcome::success, .first_byte_at = now - 1h}});
  auto latency = start_latency({.received_at = now + 1min, .planned_from = {}}, job(0));
  Duration sum{};
  for (auto hop : hops) {
    EXPECT_GE(latency.of(hop).value_or(Duration{}), Duration{});
    sum += latency.of(hop).value_or(Duration{});
  }
  EXPECT_EQ(sum, latency.total);
}

TEST_F(Story, AJobThatIsTriedAgainStartsItsClockAgain) {
  with({named("a")});
  run(0);
  now += 10s;
  must(Lose{job(0).id, job(0).fence, Reason::runner_lost, "gone"});
  EXPECT_EQ(start_latency({.received_at = now - 1h, .planned_from = {}}, job(0)).total, std::nullopt);
  now = job(0).not_before + 4ms;
  run(0);
  auto latency = start_latency({.received_at = now - 1h, .planned_from = {}}, job(0));
  EXPECT_EQ(latency.of(Hop::queue), 4ms);
  EXPECT_EQ(latency.of(Hop::webhook), std::nullopt);
}

}  // namespace
}  // namespace mayfly
