#include "roles/common/lease.h"

#include <gtest/gtest.h>

#include "async/signal.h"
#include "roles/schema.h"
#include "support/run.h"
#include "support/test_database.h"
#include "support/virtual_clock.h"

namespace mayfly {
namespace {

using namespace std::chrono_literals;

constexpr std::string_view note = "insert into outbox (id, topic, key, payload) values ($1, '', '', '')";
constexpr std::string_view forget_beats = "update leases set epoch = epoch + 1 where name = $1";

/// A process that wants to lead; `until` ends when the test kills it.
struct Candidate {
  Candidate(Database& db, VirtualClock& clock, Loop loop, std::string name) : lease(db, clock, loop, "scheduler", name), clock_(clock), life(loop) {
    life.spawn(lease.hold([this](Leadership l) { return lead(l); }));
  }

  Task<void> lead(Leadership l) {
    leads = l;
    struct Ended {
      Candidate& candidate;
      ~Ended() { candidate.leads.reset(); }
    } ended{*this};
    Signal never;
    co_await never.wait(clock_);
  }
  Task<void> die() {
    life.cancel();
    co_await life.join();
  }

  Lease lease;
  VirtualClock& clock_;
  Scope life;
  std::optional<Leadership> leads;
};

struct Leases : testing::Test {
  VirtualClock clock;
  TestLoop loop{clock};
  std::unique_ptr<Database> db = make_test_database(schema());

  Task<void> pass(Duration d) { return sleep_for(clock, d); }
};

TEST_F(Leases, OneLeadsAndAnotherTakesOverWithinTwoSecondsOfItsDeath) {
  auto story = [&]() -> Task<void> {
    Candidate a(*db, clock, loop.loop(), "a"), b(*db, clock, loop.loop(), "b");
    co_await pass(10s);
    EXPECT_NE(a.leads.has_value(), b.leads.has_value()) << "one, and not both";
    auto& leader = a.leads ? a : b;
    auto& other = a.leads ? b : a;
    auto before = leader.leads->epoch;
    co_await leader.die();
    co_await pass(2s);
    EXPECT_TRUE(other.leads.has_value());
    if (other.leads) EXPECT_EQ(other.leads->epoch, before + 1);
    co_await other.die();
  };
  loop.run(story());
}

TEST_F(Leases, OneThatIsGivenBackIsTakenAtOnce) {
  auto story = [&]() -> Task<void> {
    Candidate a(*db, clock, loop.loop(), "a");
    co_await pass(1s);
    EXPECT_TRUE(a.leads);
    Candidate b(*db, clock, loop.loop(), "b");
    co_await pass(1s);
    co_await a.die();
    co_await a.lease.release();
    co_await pass(lease_beat + 1ms);
    EXPECT_TRUE(b.leads);
    co_await b.die();
  };
  loop.run(story());
}

TEST_F(Leases, ALeaderThatWasPausedStoresNothingAndNoticesItself) {
  auto story = [&]() -> Task<void> {
    Candidate a(*db, clock, loop.loop(), "a");
    co_await pass(1s);
    auto old = a.leads.value();
    auto mine = co_await db->transact({statement(note, "while ours"), old.still_ours()});
    EXPECT_TRUE(mine);
    (void)co_await db->transact({statement(forget_beats, "scheduler")});  // what another's taking does while `a` is paused
    auto late = co_await db->transact({statement(note, "too late"), old.still_ours()});
    EXPECT_EQ(late.error().code, Errc::conflict);
    co_await pass(lease_beat + 1ms);
    EXPECT_FALSE(a.leads) << "its next beat tells it";
    co_await a.die();
  };
  loop.run(story());
}

TEST_F(Leases, WhoIsAloneTakesItFromTheDeadAtOnce) {
  auto story = [&]() -> Task<void> {
    Lease before(*db, clock, loop.loop(), "scheduler", "local"), after(*db, clock, loop.loop(), "scheduler", "local");
    auto first = co_await before.take();
    auto second = co_await after.take();
    EXPECT_EQ(second->epoch, first->epoch + 1);
  };
  loop.run(story());
}

}  // namespace
}  // namespace mayfly
