#include "contract/executor_contract.h"

#include <algorithm>

namespace mayfly::contract {

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(ExecutorContract);

using namespace std::chrono_literals;

void ExecutorContract::SetUp() {
  around = on_real_time();
  world = GetParam().make_world();
  make_executor();
}

void ExecutorContract::make_executor() {
  executor = world->make_executor(around.loop->loop());
  upkeep = std::make_unique<Scope>(around.loop->loop());
  upkeep->spawn(executor->run());
}

void ExecutorContract::end_executor() {
  upkeep->cancel();
  around.loop->run(upkeep->join());
  executor.reset();
}

void ExecutorContract::TearDown() {
  for (auto attempt : started) {
    (void)run(executor->stop(attempt, 0s));
    (void)run(executor->forget(attempt));
    EXPECT_EQ(world->traces_of(attempt), "");
  }
  end_executor();
}

AttemptId ExecutorContract::start(Behaviour behaviour) {
  auto spec = world->make_spec(behaviour);
  auto begun = run(executor->start(spec));
  EXPECT_TRUE(begun) << begun.error().message;
  started.push_back(spec.attempt);
  EXPECT_TRUE(wait_until([&] { return world->is_settled(spec.attempt); }));
  return spec.attempt;
}

std::optional<RunnerStatus> ExecutorContract::look(AttemptId attempt) {
  auto all = run(executor->list());
  if (!all) {
    ADD_FAILURE() << all.error().message;
    return std::nullopt;
  }
  auto at = std::ranges::find(*all, attempt, &RunnerStatus::attempt);
  return at == all->end() ? std::nullopt : std::optional(*at);
}

bool ExecutorContract::wait_until(std::function<bool()> seen) {
  auto until = around.clock->now() + GetParam().patience;
  while (!seen()) {
    if (around.clock->now() > until) return false;
    run(sleep_for(*around.clock, 5ms));
  }
  return true;
}

RunnerStatus ExecutorContract::end_of(AttemptId attempt) {
  std::optional<RunnerStatus> status;
  wait_until([&] { return (status = look(attempt)) && !status->running; });
  EXPECT_TRUE(status) << "not listed";
  return status.value_or(RunnerStatus{});
}

TEST_P(ExecutorContract, AnEmptyPoolHasNoRunners) {
  auto all = run(executor->list());
  ASSERT_TRUE(all) << all.error().message;
  EXPECT_TRUE(all->empty());
}

TEST_P(ExecutorContract, AStartedRunnerIsListedAsRunning) {
  auto attempt = start(Behaviour::waits);
  auto status = look(attempt);
  ASSERT_TRUE(status);
  EXPECT_TRUE(status->running);
  EXPECT_EQ(status->reason, Reason::none);
}

TEST_P(ExecutorContract, StartingAnAttemptTwiceIsOneRunner) {
  auto spec = world->make_spec(Behaviour::waits);
  started.push_back(spec.attempt);
  ASSERT_TRUE(run(executor->start(spec)));
  auto again = run(executor->start(spec));
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, Errc::conflict);
  EXPECT_EQ(run(executor->list())->size(), 1u);
}

TEST_P(ExecutorContract, AnEndedRunnerCannotBeStartedAgainEither) {
  auto spec = world->make_spec(Behaviour::ends);
  started.push_back(spec.attempt);
  ASSERT_TRUE(run(executor->start(spec)));
  end_of(spec.attempt);
  auto again = run(executor->start(spec));
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, Errc::conflict);
}

TEST_P(ExecutorContract, ARunnerThatEndsSaysWhy) {
  auto status = end_of(start(Behaviour::ends));
  EXPECT_FALSE(status.running);
  EXPECT_EQ(status.reason, Reason::oom);
  EXPECT_EQ(status.detail, "as it was told");
}

TEST_P(ExecutorContract, AnEndIsToldOnTheLoop) {
  std::optional<RunnerStatus> told;
  executor->on_end([&](RunnerStatus status) { told = std::move(status); });
  auto attempt = start(Behaviour::ends);
  ASSERT_TRUE(wait_until([&] { return told.has_value(); }));
  EXPECT_EQ(told->attempt, attempt);
  EXPECT_FALSE(told->running);
  EXPECT_EQ(told->reason, Reason::oom);
}

TEST_P(ExecutorContract, ARunnerThatVanishesIsLost) {
  auto attempt = start(Behaviour::waits);
  world->destroy_runner(attempt);
  auto status = end_of(attempt);
  EXPECT_FALSE(status.running);
  EXPECT_EQ(status.reason, Reason::runner_lost);
  EXPECT_NE(status.detail, "");
}

TEST_P(ExecutorContract, StopLetsARunnerFinishByItself) {
  auto attempt = start(Behaviour::waits);
  auto stopped = run(executor->stop(attempt, GetParam().patience));
  ASSERT_TRUE(stopped) << stopped.error().message;
  EXPECT_EQ(end_of(attempt).reason, Reason::canceled);
}

TEST_P(ExecutorContract, StopKillsARunnerThatDoesNotListen) {
  auto attempt = start(Behaviour::ignores_sigterm);
  auto before = around.clock->now();
  ASSERT_TRUE(run(executor->stop(attempt, 100ms)));
  EXPECT_GE(around.clock->now() - before, 100ms);
  auto status = end_of(attempt);
  EXPECT_FALSE(status.running);
  EXPECT_EQ(status.reason, Reason::runner_lost);
}

TEST_P(ExecutorContract, StoppingWhatIsNotThereIsSuccess) {
  auto never = world->make_spec(Behaviour::waits).attempt;
  EXPECT_TRUE(run(executor->stop(never, 1s)));
  EXPECT_TRUE(run(executor->forget(never)));
  auto ended = start(Behaviour::ends);
  end_of(ended);
  EXPECT_TRUE(run(executor->stop(ended, 1s)));
}

TEST_P(ExecutorContract, AnEndedRunnerIsListedUntilItIsForgotten) {
  auto attempt = start(Behaviour::ends);
  end_of(attempt);
  EXPECT_TRUE(look(attempt));
  ASSERT_TRUE(run(executor->forget(attempt)));
  EXPECT_FALSE(look(attempt));
  EXPECT_EQ(world->traces_of(attempt), "");
}

TEST_P(ExecutorContract, ARunnerOutlivesItsExecutorAndIsFoundByTheNext) {
  auto attempt = start(Behaviour::waits);
  end_executor();
  make_executor();
  std::optional<RunnerStatus> told;
  executor->on_end([&](RunnerStatus status) { told = std::move(status); });
  auto status = look(attempt);
  ASSERT_TRUE(status);
  EXPECT_TRUE(status->running);
  ASSERT_TRUE(run(executor->stop(attempt, GetParam().patience)));
  ASSERT_TRUE(wait_until([&] { return told.has_value(); }));
  EXPECT_EQ(told->attempt, attempt);
  EXPECT_EQ(told->reason, Reason::canceled);
}

TEST_P(ExecutorContract, WhatEndedWhileNobodyWatchedIsFoundToo) {
  auto attempt = start(Behaviour::waits);
  end_executor();
  world->destroy_runner(attempt);
  make_executor();
  EXPECT_EQ(end_of(attempt).reason, Reason::runner_lost);
}

TEST_P(ExecutorContract, ManyRunnersAtOnceAreManyRunners) {
  constexpr int count = 12;
  Scope scope(around.loop->loop());
  auto start_one = [this](RunnerSpec spec) -> Task<void> { EXPECT_TRUE(co_await executor->start(std::move(spec))); };
  for (int i = 0; i < count; ++i) {
    auto spec = world->make_spec(i % 2 ? Behaviour::ends : Behaviour::waits);
    started.push_back(spec.attempt);
    scope.spawn(start_one(std::move(spec)));
  }
  run(scope.join());
  EXPECT_EQ(run(executor->list())->size(), std::size_t(count));
  for (int i = 0; i < count; ++i) {
    if (i % 2)
      EXPECT_EQ(end_of(started[std::size_t(i)]).reason, Reason::oom);
    else
      EXPECT_TRUE(look(started[std::size_t(i)])->running);
  }
}

}  // namespace mayfly::contract
