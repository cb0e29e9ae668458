#include "roles/builds/outbox.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "adapters/memory/bus.h"
#include "adapters/memory/cache.h"
#include "async/scope.h"
#include "roles/schema.h"
#include "support/run.h"
#include "support/test_database.h"
#include "support/virtual_clock.h"

namespace mayfly {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr std::string_view insert = "insert into outbox (id, topic, key, payload) values ($1, $2, $3, $4)";
constexpr std::string_view count = "select count(*) from outbox";

/// A bus that can be away.
class Unsteady final : public Bus {
 public:
  explicit Unsteady(TimerSource& timers) : real_(make_memory_bus(timers)) {}
  Task<Result<void>> publish(std::string_view topic, std::vector<Message> messages) override {
    if (away) co_return fail(Errc::unavailable, "the brokers are away");
    for (auto& message : messages)
      if (message.payload == "too large") co_return fail(Errc::too_large, "more than a message may have");
    co_return co_await real_->publish(topic, std::move(messages));
  }
  std::unique_ptr<Subscription> subscribe(std::string_view topic, std::string_view group) override { return real_->subscribe(topic, group); }
  Task<Result<void>> ping() override { return real_->ping(); }
  bool away = false;

 private:
  std::unique_ptr<Bus> real_;
};

struct OutboxStory : testing::Test {
  VirtualClock clock;
  TestLoop loop{clock};
  std::unique_ptr<Database> db = make_test_database(schema());
  Unsteady bus{clock};
  std::unique_ptr<Cache> cache = make_memory_cache(clock);
  int made = 0;

  OutboxRow row(Time at, std::string payload) { return {outbox_id_at(at) + "-" + std::to_string(made++), "mayfly.events", "build", std::move(payload)}; }
  Task<void> store(OutboxRow r) { (void)co_await db->transact({statement(insert, r.id, r.topic, r.key, r.payload)}); }
  Task<std::vector<std::string>> heard(Subscription& from) {
    auto messages = co_await from.poll(100, clock.now());
    std::vector<std::string> out;
    for (auto& m : messages.value()) out.push_back(m.payload);
    co_return out;
  }
  Task<std::int64_t> left() { co_return int_at((co_await db->query({count, {}}))->rows[0], 0); }

  /// Tells `story` beside a running outbox.
  void tell(std::function<Task<void>(Outbox&, Subscription&)> story) {
    auto all = [&]() -> Task<void> {
      Outbox outbox(*db, bus, *cache, clock);
      auto listener = bus.subscribe("mayfly.events", "test");
      (void)co_await listener->poll(1, clock.now());
      Scope running(loop.loop());
      running.spawn(outbox.run());
      co_await sleep_for(clock, 1ms);
      co_await story(outbox, *listener);
      running.cancel();
      co_await running.join();
    };
    loop.run(all());
  }
};

TEST_F(OutboxStory, WhatWasStoredHereIsPublishedAtOnceAndGoes) {
  tell([&](Outbox& outbox, Subscription& listener) -> Task<void> {
    auto r = row(clock.now(), "news");
    co_await store(r);
    outbox.stored({r});
    co_await sleep_for(clock, 1ms);
    EXPECT_THAT(co_await heard(listener), ElementsAre("news"));
    EXPECT_EQ(co_await left(), 0);
  });
}

TEST_F(OutboxStory, WhatADeadProcessLeftIsPublishedByAnotherOnceItIsOld) {
  tell([&](Outbox&, Subscription& listener) -> Task<void> {
    co_await store(row(clock.now(), "orphan"));  // nobody says so
    co_await sleep_for(clock, orphan_age - 1s);
    EXPECT_THAT(co_await heard(listener), IsEmpty()) << "its own process may still be at it";
    co_await sleep_for(clock, 7s);
    EXPECT_THAT(co_await heard(listener), ElementsAre("orphan"));
  });
}

TEST_F(OutboxStory, WhatStoodThereBeforeTheStartIsPublishedAtOnce) {
  auto before = [&]() -> Task<void> { co_await store(row(clock.now(), "left over")); };
  loop.run(before());
  tell([&](Outbox&, Subscription& listener) -> Task<void> { EXPECT_THAT(co_await heard(listener), ElementsAre("left over")); });
}

TEST_F(OutboxStory, WhileTheBusIsAwayMessagesWaitAndItIsSaidAndThenTheyDrain) {
  tell([&](Outbox& outbox, Subscription& listener) -> Task<void> {
    bus.away = true;
    auto r = row(clock.now(), "patient");
    co_await store(r);
    outbox.stored({r});
    EXPECT_TRUE(co_await outbox.check()) << "not for a moment";
    co_await sleep_for(clock, outbox_is_late_after + 1s);
    auto late = co_await outbox.check();
    EXPECT_FALSE(late);
    if (!late) EXPECT_EQ(late.error().code, Errc::unavailable);
    EXPECT_EQ(co_await left(), 1);
    bus.away = false;
    co_await sleep_for(clock, 2s);
    EXPECT_THAT(co_await heard(listener), ElementsAre("patient"));
    EXPECT_TRUE(co_await outbox.check());
  });
}

TEST_F(OutboxStory, AMessageThatTheBusNeverTakesKeepsNoOtherFromIt) {
  tell([&](Outbox& outbox, Subscription& listener) -> Task<void> {
    std::vector<OutboxRow> rows{row(clock.now(), "before"), row(clock.now(), "too large"), row(clock.now(), "after")};
    for (auto& r : rows) co_await store(r);
    outbox.stored(rows);
    co_await sleep_for(clock, 1ms);
    EXPECT_THAT(co_await heard(listener), ElementsAre("before", "after"));
    EXPECT_EQ(co_await left(), 0);
  });
}

TEST_F(OutboxStory, MoreThanItHoldsInMemoryIsLeftToTheSweepAndNoneIsLost) {
  tell([&](Outbox& outbox, Subscription& listener) -> Task<void> {
    bus.away = true;
    std::vector<OutboxRow> rows;
    std::vector<Statement> unit;
    for (std::size_t i = 0; i <= max_pending_messages; ++i) rows.push_back(row(clock.now(), std::to_string(i)));
    for (auto& r : rows) {
      unit.push_back(statement(insert, r.id, r.topic, r.key, r.payload));
      if (unit.size() == 1000) (void)co_await db->transact(std::exchange(unit, {}));
    }
    (void)co_await db->transact(std::move(unit));
    outbox.stored(std::move(rows));
    bus.away = false;
    co_await sleep_for(clock, 5s);
    EXPECT_EQ(co_await left(), 0);
    std::size_t all = 0;
    for (auto some = co_await heard(listener); !some.empty(); some = co_await heard(listener)) all += some.size();
    EXPECT_EQ(all, max_pending_messages + 1);
  });
}

}  // namespace
}  // namespace mayfly
