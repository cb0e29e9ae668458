#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <future>
#include <thread>

#include "async/completion.h"
#include "async/mutex.h"
#include "async/offload.h"
#include "async/scope.h"
#include "async/signal.h"
#include "async/system_timer.h"

namespace mayfly {
namespace {

using namespace std::chrono_literals;

Time soon(Duration d) { return std::chrono::time_point_cast<Duration>(std::chrono::system_clock::now()) + d; }

struct Loopback : testing::Test {
  boost::asio::io_context loop;
  std::unique_ptr<TimerSource> clock = make_system_timers(loop.get_executor());
};

TEST_F(Loopback, AScopeWaitsForItsChildren) {
  Scope outer(loop.get_executor());
  int done = 0;
  auto child = [](TimerSource& clock, int& n) -> Task<void> {
    auto timer = clock.make_timer();
    co_await timer->wait_until(soon(5ms));
    ++n;
  };
  auto parent = [&]() -> Task<void> {
    Scope inner(loop.get_executor());
    for (int i = 0; i < 3; ++i) inner.spawn(child(*clock, done));
    co_await inner.join();
    EXPECT_EQ(done, 3);
    done = 10;
  };
  outer.spawn(parent());
  loop.run();
  EXPECT_EQ(done, 10);
}

TEST_F(Loopback, CancelUnwindsWhatWaits) {
  Scope scope(loop.get_executor());
  Signal never;
  bool returned = false, unwound = false;
  struct Guard {
    bool& flag;
    ~Guard() { flag = true; }
  };
  auto child = [&]() -> Task<void> {
    Guard guard{unwound};
    co_await never.wait(*clock);
    returned = true;
  };
  auto canceler = [&]() -> Task<void> {
    auto timer = clock->make_timer();
    co_await timer->wait_until(soon(5ms));
    scope.cancel();
  };
  Scope other(loop.get_executor());
  scope.spawn(child());
  other.spawn(canceler());
  loop.run();
  EXPECT_TRUE(unwound);
  EXPECT_FALSE(returned);
}

TEST_F(Loopback, AChildCanceledBeforeItStartsNeverRuns) {
  Scope scope(loop.get_executor());
  bool ran = false;
  auto child = [](bool& flag) -> Task<void> {
    flag = true;
    co_return;
  };
  scope.spawn(child(ran));
  scope.cancel();
  loop.run();
  EXPECT_FALSE(ran);
  EXPECT_EQ(scope.size(), 0u);
}

TEST_F(Loopback, AChildMayCancelItsOwnScopeAndReturn) {
  Scope scope(loop.get_executor());
  bool ran = false;
  auto child = [](Scope& own, bool& flag) -> Task<void> {
    own.cancel();
    flag = true;
    co_return;
  };
  scope.spawn(child(scope, ran));
  loop.run();
  EXPECT_TRUE(ran);
  EXPECT_EQ(scope.size(), 0u);
}

TEST_F(Loopback, CancelingTheParentReachesTheChildrenOfItsScope) {
  Scope outer(loop.get_executor());
  Signal never;
  bool child_gone = false, parent_returned = false;
  struct Guard {
    bool& flag;
    ~Guard() { flag = true; }
  };
  auto child = [&]() -> Task<void> {
    Guard guard{child_gone};
    co_await never.wait(*clock);
  };
  auto parent = [&]() -> Task<void> {
    Scope inner(loop.get_executor());
    inner.spawn(child());
    co_await inner.join();
    parent_returned = true;
  };
  auto canceler = [&]() -> Task<void> {
    auto timer = clock->make_timer();
    co_await timer->wait_until(soon(5ms));
    outer.cancel();
  };
  Scope other(loop.get_executor());
  outer.spawn(parent());
  other.spawn(canceler());
  loop.run();
  EXPECT_TRUE(child_gone);
  EXPECT_FALSE(parent_returned);
}

TEST_F(Loopback, ASignalIsRememberedAndALimitIsKept) {
  Scope scope(loop.get_executor());
  Signal signal;
  std::vector<bool> seen;
  auto waiter = [&]() -> Task<void> {
    signal.notify();
    seen.push_back(co_await signal.wait(*clock));
    seen.push_back(co_await signal.wait(*clock, soon(2ms)));
  };
  scope.spawn(waiter());
  loop.run();
  EXPECT_EQ(seen, (std::vector<bool>{true, false}));
}

TEST_F(Loopback, AMutexServesInOrderAndSkipsWhoGaveUp) {
  Mutex mutex;
  std::vector<int> order;
  Scope patient(loop.get_executor()), impatient(loop.get_executor());
  auto worker = [&](int n) -> Task<void> {
    auto guard = co_await mutex.lock(*clock);
    auto timer = clock->make_timer();
    co_await timer->wait_until(soon(5ms));
    order.push_back(n);
    if (n == 0) impatient.cancel();
  };
  patient.spawn(worker(0));
  impatient.spawn(worker(1));
  patient.spawn(worker(2));
  patient.spawn(worker(3));
  loop.run();
  EXPECT_EQ(order, (std::vector{0, 2, 3}));
  EXPECT_FALSE(mutex.busy());
}

TEST_F(Loopback, OffloadedWorkRunsElsewhereAndComesBack) {
  Scope scope(loop.get_executor());
  auto pool = make_thread_offload(2);
  std::thread::id here = std::this_thread::get_id(), there, back;
  auto caller = [&]() -> Task<void> {
    int n = co_await offload(*pool, [&] {
      there = std::this_thread::get_id();
      return 42;
    });
    back = std::this_thread::get_id();
    EXPECT_EQ(n, 42);
  };
  scope.spawn(caller());
  loop.run();
  EXPECT_NE(there, here);
  EXPECT_EQ(back, here);
}

TEST(Completion, TheLoopMayGoAsSoonAsTheAnswerIsThere) {
  // The thread that answered holds on to what it answered with: it must not lead back into the loop.
  std::thread answerer;
  std::promise<void> loop_is_gone;
  {
    boost::asio::io_context loop;
    Scope scope(loop.get_executor());
    bool answered = false;
    auto caller = [&]() -> Task<void> {
      co_await completed_by([&](Done done) {
        answerer = std::thread([done = std::move(done), gone = loop_is_gone.get_future()]() mutable {
          done();
          gone.wait();
        });
      });
      answered = true;
    };
    scope.spawn(caller());
    loop.run();
    EXPECT_TRUE(answered);
  }
  loop_is_gone.set_value();
  answerer.join();
}

}  // namespace
}  // namespace mayfly
