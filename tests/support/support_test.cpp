#include <gtest/gtest.h>

#include <boost/system/system_error.hpp>
#include <stdexcept>

#include "async/scope.h"
#include "async/signal.h"
#include "support/run.h"
#include "support/seeded_entropy.h"
#include "support/virtual_clock.h"

namespace mayfly {
namespace {

using namespace std::chrono_literals;

TEST(Run, GivesTheTasksValue) {
  auto task = []() -> Task<int> { co_return 42; };
  EXPECT_EQ(run(task()), 42);
}

TEST(Run, ThrowsWhatTheTaskThrows) {
  auto task = []() -> Task<void> {
    throw std::runtime_error("no");
    co_return;
  };
  EXPECT_THROW(run(task()), std::runtime_error);
}

TEST(Run, ATaskThatWaitsForNothingIsFound) {
  VirtualClock clock;
  Signal never;
  auto task = [&]() -> Task<void> { co_await never.wait(clock); };
  EXPECT_THROW(run(clock, task()), std::logic_error);
}

TEST(VirtualTime, AnHourPassesAtOnce) {
  VirtualClock clock;
  auto start = clock.now();
  run(clock, sleep_for(clock, 1h));
  EXPECT_EQ(clock.now() - start, 1h);
}

TEST(VirtualTime, WaitsEndInOrderOfTimeThenOfBeginning) {
  VirtualClock clock;
  TestLoop loop(clock);
  std::string order;
  auto child = [&](Duration d, char name) -> Task<void> {
    co_await sleep_for(clock, d);
    order += name;
  };
  auto parent = [&]() -> Task<void> {
    Scope scope(loop.loop());
    scope.spawn(child(2s, 'c'));
    scope.spawn(child(1s, 'a'));
    scope.spawn(child(1s, 'b'));
    scope.spawn(child(3s, 'd'));
    co_await scope.join();
  };
  loop.run(parent());
  EXPECT_EQ(order, "abcd");
}

TEST(VirtualTime, ACanceledWaitUnwinds) {
  VirtualClock clock;
  TestLoop loop(clock);
  bool returned = false;
  auto child = [&]() -> Task<void> {
    co_await sleep_for(clock, 1h);
    returned = true;
  };
  auto parent = [&]() -> Task<void> {
    Scope scope(loop.loop());
    scope.spawn(child());
    co_await sleep_for(clock, 1s);
    scope.cancel();
    co_await scope.join();
  };
  auto start = clock.now();
  loop.run(parent());
  EXPECT_FALSE(returned);
  EXPECT_EQ(clock.now() - start, 1s);
}

TEST(VirtualTime, ANotifiedSignalEndsAWaitBeforeItsTime) {
  VirtualClock clock;
  TestLoop loop(clock);
  Signal signal;
  bool notified = false;
  auto waiter = [&]() -> Task<void> { notified = co_await signal.wait(clock, clock.now() + 1h); };
  auto parent = [&]() -> Task<void> {
    Scope scope(loop.loop());
    scope.spawn(waiter());
    co_await sleep_for(clock, 5s);
    signal.notify();
    co_await scope.join();
  };
  auto start = clock.now();
  loop.run(parent());
  EXPECT_TRUE(notified);
  EXPECT_EQ(clock.now() - start, 5s);
}

TEST(SeededEntropy, TheSameSeedGivesTheSameIds) {
  VirtualClock clock;
  SeededEntropy a(7), b(7), c(8);
  auto id = make_id<BuildId>(clock, a);
  EXPECT_EQ(id, make_id<BuildId>(clock, b));
  EXPECT_NE(id, make_id<BuildId>(clock, c));
}

}  // namespace
}  // namespace mayfly
