#include "adapters/postgres/partitions.h"

#include "adapters/postgres/test_postgres.h"
#include "support/seeded_entropy.h"
#include "support/virtual_clock.h"

namespace mayfly::postgres {
namespace {

using namespace std::chrono_literals;

const Migration history{1, "history",
                        "create table events (build_id text /*postgres: collate \"C\" */ not null, part bigint not null, primary key (build_id, part))"
                        " /*postgres: partition by range (build_id) */;"
                        "/*postgres: create table events_rest partition of events default; */"};
constexpr std::string_view insert_event = "insert into events (build_id, part) values ($1, $2)";

TEST(TimeRanges, StandSideBySideAndAreToldByTheirIds) {
  Time noon = std::chrono::sys_days{std::chrono::year{2026} / 1 / 1} + 12h;
  EXPECT_EQ(range_of(noon, 24h), (TimeRange{noon - 12h, noon + 12h}));
  EXPECT_EQ(range_of(noon + 12h, 24h), (TimeRange{noon + 12h, noon + 36h}));
  SeededEntropy entropy(1);
  VirtualClock clock(noon);
  auto id = make_id<BuildId>(clock, entropy).str();
  EXPECT_EQ(time_of_id(id), noon);
  EXPECT_LT(first_id_at(noon), id);
  EXPECT_LT(id, first_id_at(noon + 1ms));
  EXPECT_EQ(time_of_id(first_id_at(noon)), noon);
  EXPECT_EQ(time_of_id("DEFAULT"), std::nullopt);
}

class Partitions : public OnSharedServer {
 protected:
  void SetUp() override {
    OnSharedServer::SetUp();
    if (IsSkipped()) return;
    options.url = place->schema.url(application);
    options.partitions = {{.table = "events", .column = "build_id", .width = 24h, .retention = 72h}};
    session.emplace(options.url);
  }
  std::unique_ptr<Database> open() { return open_postgres(place->loop.loop(), clock, options, {history}).value(); }
  std::string partitions() {
    return session->run("select string_agg(inhrelid::regclass::text, ' ' order by 1) from (select inhrelid from pg_inherits where inhparent = 'events'::regclass"
                        " order by inhrelid::regclass::text) as p");
  }
  std::string put(Database& db, std::int64_t part = 0) {
    auto id = make_id<BuildId>(clock, entropy).str();
    EXPECT_TRUE(place->transact(db, {statement(insert_event, id, part)}));
    return id;
  }
  std::string where(const std::string& id) { return session->run("select tableoid::regclass from events where build_id = '" + id + "'"); }

  VirtualClock clock;  // midnight
  SeededEntropy entropy{1};
  PostgresOptions options;
  std::optional<PostgresSession> session;
};

TEST_F(Partitions, AreMadeAheadAndDroppedPastTheirRetention) {
  auto db = open();
  EXPECT_EQ(partitions(), "events_20260101_0000 events_20260102_0000 events_20260103_0000 events_rest");
  auto first = put(*db);
  EXPECT_EQ(where(first), "events_20260101_0000");

  // The keeper follows the clock.
  auto elsewhere = make_inline_offload();
  auto keep = [&]() -> Task<void> { co_await keep_partitions(options, clock, *elsewhere); };
  auto days = [&]() -> Task<void> {
    Scope scope(place->loop.loop());
    scope.spawn(keep());
    for (int day = 0; day < 4; ++day) {
      clock.advance(24h);
      auto next = "events_2026010" + std::to_string(4 + day) + "_0000";
      while (session->run("select to_regclass('" + next + "')").empty()) {
        clock.jump_to_next();  // to when the keeper looks again, if it waits already
        co_await sleep_for(place->clock, 1ms);
      }
    }
    scope.cancel();
    co_await scope.join();
  };
  place->loop.run(days());
  // It is the 5th: the 1st ended three days ago.
  EXPECT_EQ(partitions(), "events_20260102_0000 events_20260103_0000 events_20260104_0000 events_20260105_0000 events_20260106_0000 events_20260107_0000 events_rest");
  EXPECT_EQ(where(first), "") << "gone with its partition";
  EXPECT_EQ(where(put(*db)), "events_20260105_0000");
}

TEST_F(Partitions, WhatCameWhileThereWasNoneIsMovedToItsOwn) {
  auto db = open();
  clock.advance(24h * 10);
  auto now = put(*db), again = put(*db);
  clock.advance(24h);
  auto next_day = put(*db);
  EXPECT_EQ(where(now), "events_rest") << "no insert fails for want of a partition";
  ASSERT_TRUE(keep_partitions(options, clock.now()));
  EXPECT_EQ(where(now), "events_20260111_0000");
  EXPECT_EQ(where(again), "events_20260111_0000");
  EXPECT_EQ(where(next_day), "events_20260112_0000");
  EXPECT_EQ(session->run("select count(*) from events_rest"), "0");
}

TEST_F(Partitions, OldRowsOfTheRestGoToo) {
  auto db = open();
  clock.advance(24h * 10);
  auto old = put(*db);
  clock.advance(24h * 10);
  ASSERT_TRUE(keep_partitions(options, clock.now()));
  EXPECT_EQ(where(old), "");
}

TEST_F(Partitions, OfManyKeepersAtOnceAreMadeOnce) {
  auto db = open();
  clock.advance(24h * 30);
  std::vector<std::thread> keepers;
  std::atomic<int> failed = 0;
  for (int i = 0; i < 4; ++i) keepers.emplace_back([&] { failed += !keep_partitions(options, clock.now()); });
  for (auto& keeper : keepers) keeper.join();
  EXPECT_EQ(failed, 0);
  ASSERT_TRUE(keep_partitions(options, clock.now()));
  EXPECT_EQ(partitions(), "events_20260131_0000 events_20260201_0000 events_20260202_0000 events_rest");
}

TEST_F(Partitions, ATableThatSomebodyHoldsIsLeftForLater) {
  auto db = open();
  put(*db);
  PostgresSession other(place->schema.url("other"));
  other.run("begin isolation level repeatable read");
  EXPECT_EQ(other.run("select count(*) from events"), "1");
  clock.advance(24h * 30);
  EXPECT_EQ(keep_partitions(options, clock.now()).error().code, Errc::unavailable) << "one who reads it holds it";
  put(*db);
  other.run("commit");
  EXPECT_TRUE(keep_partitions(options, clock.now()));
}

TEST_F(Partitions, AQueryByIdLooksIntoOne) {
  auto db = open();
  auto id = put(*db);
  for (auto mode : {"force_custom_plan", "force_generic_plan"}) {
    session->run("deallocate all; set plan_cache_mode = " + std::string(mode) + "; prepare by_id (text) as select part from events where build_id = $1 and part > 0");
    auto plan = session->run("explain (analyze, costs off, timing off, summary off) execute by_id('" + id + "')");
    EXPECT_THAT(plan, testing::HasSubstr("events_20260101_0000"));
    for (auto other : {"events_20260102_0000", "events_20260103_0000", "events_rest"}) EXPECT_THAT(plan, testing::Not(testing::HasSubstr(other))) << plan;
  }
}

}  // namespace
}  // namespace mayfly::postgres
