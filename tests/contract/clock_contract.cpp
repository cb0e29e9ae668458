#include "contract/clock_contract.h"

#include "async/scope.h"
#include "async/signal.h"

namespace mayfly::contract {

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(ClockContract);

using namespace std::chrono_literals;

TEST_P(ClockContract, AWaitEndsAtItsTimeNotBefore) {
  auto timer = clock.make_timer();
  auto until = clock.now() + 20ms;
  EXPECT_TRUE(around.loop->run(timer->wait_until(until)));
  // The wall clock may be set back a little meanwhile.
  EXPECT_GE(clock.now(), until - 1ms);
  EXPECT_LT(clock.now(), until + 10s);
}

TEST_P(ClockContract, APastTimeIsDueAtOnce) {
  auto timer = clock.make_timer();
  auto now = clock.now();
  EXPECT_TRUE(around.loop->run(timer->wait_until(now - 1h)));
  EXPECT_GE(clock.now(), now);
  EXPECT_LT(clock.now(), now + 10s);
}

TEST_P(ClockContract, ATimerIsUsedAgain) {
  auto timer = clock.make_timer();
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(around.loop->run(timer->wait_until(clock.now() + 1ms)));
}

TEST_P(ClockContract, EarlierWaitsEndFirst) {
  std::string order;
  auto sleeper = [&](Duration d, char name) -> Task<void> {
    co_await sleep_for(clock, d);
    order += name;
  };
  auto story = [&]() -> Task<void> {
    Scope scope(around.loop->loop());
    scope.spawn(sleeper(400ms, 'c'));
    scope.spawn(sleeper(1ms, 'a'));
    scope.spawn(sleeper(200ms, 'b'));
    co_await scope.join();
  };
  around.loop->run(story());
  EXPECT_EQ(order, "abc");
}

TEST_P(ClockContract, ACanceledTimerEndsItsWaitEarly) {
  auto timer = clock.make_timer();
  bool due = true;
  auto waiter = [&]() -> Task<void> { due = co_await timer->wait_until(clock.now() + 1h); };
  auto story = [&]() -> Task<void> {
    Scope scope(around.loop->loop());
    scope.spawn(waiter());
    co_await sleep_for(clock, 5ms);
    timer->cancel();
    co_await scope.join();
  };
  auto start = clock.now();
  around.loop->run(story());
  EXPECT_FALSE(due);
  EXPECT_LT(clock.now(), start + 30min);
}

TEST_P(ClockContract, CancelingWhenNobodyWaitsDoesNothing) {
  auto timer = clock.make_timer();
  timer->cancel();
  EXPECT_TRUE(around.loop->run(timer->wait_until(clock.now() + 1ms)));
  timer->cancel();
  EXPECT_TRUE(around.loop->run(timer->wait_until(clock.now() + 1ms)));
}

TEST_P(ClockContract, ACanceledCoroutineUnwindsFromItsWait) {
  bool returned = false, unwound = false;
  auto sleeper = [&](Time until) -> Task<void> {
    struct Guard {
      bool& flag;
      ~Guard() { flag = true; }
    } guard{unwound};
    auto timer = clock.make_timer();
    co_await timer->wait_until(until);
    returned = true;
  };
  for (auto until : {clock.now() + 1h, Time::max()}) {
    unwound = false;
    auto story = [&]() -> Task<void> {
      Scope scope(around.loop->loop());
      scope.spawn(sleeper(until));
      co_await sleep_for(clock, 5ms);
      scope.cancel();
      co_await scope.join();
    };
    around.loop->run(story());
    EXPECT_TRUE(unwound);
    EXPECT_FALSE(returned);
  }
}

TEST_P(ClockContract, ASignalEndsAWaitWithoutEnd) {
  Signal signal;
  auto waiter = [&]() -> Task<void> { EXPECT_TRUE(co_await signal.wait(clock)); };
  auto story = [&]() -> Task<void> {
    Scope scope(around.loop->loop());
    scope.spawn(waiter());
    co_await sleep_for(clock, 5ms);
    signal.notify();
    co_await scope.join();
  };
  around.loop->run(story());
}

TEST_P(ClockContract, IdsSortByTheTimeTheyWereMade) {
  struct Zeros final : Entropy {
    void fill(std::span<std::uint8_t> bytes) override { std::ranges::fill(bytes, 0); }
  } zeros;
  auto first = make_id<BuildId>(clock, zeros);
  around.loop->run(sleep_for(clock, 2ms));
  EXPECT_LT(first, make_id<BuildId>(clock, zeros));
}

}  // namespace mayfly::contract
