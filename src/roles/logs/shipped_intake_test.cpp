#include "roles/logs/shipped_intake.h"

#include <gtest/gtest.h>

#include "adapters/memory/bus.h"
#include "adapters/memory/cache.h"
#include "adapters/sqlite/sqlite.h"
#include "async/scope.h"
#include "roles/logs/log_aggregator.h"
#include "roles/logs/log_store.h"
#include "roles/schema.h"
#include "simulation/memory_blobs.h"
#include "support/run.h"
#include "support/virtual_clock.h"

namespace mayfly {
namespace {

using namespace std::chrono_literals;

struct Shipping : testing::Test {
  VirtualClock clock;
  TestLoop loop{clock};
  std::unique_ptr<Database> db = open_sqlite(":memory:", schema(), {.inline_mode = true}).value();
  simulation::MemoryBlobs blobs;
  LogStore store{*db, blobs, clock};
  AttemptId mine = AttemptId::parse("01a20c91-8a13-73f1-a768-ae6b8ffe1a2c").value();
  AttemptId other = AttemptId::parse("01a20c91-8a13-73f1-a768-ae6b8ffe1a2d").value();

  KeepFrames keep = [this](AttemptId attempt, std::string frames) -> Task<Result<LogsAnswer>> {
    CO_TRY(co_await store.append(attempt, std::move(frames)));
    CO_TRY(co_await store.flush(attempt));
    co_return co_await store.position(attempt);
  };

  Task<Result<ShippedAnswer>> take(std::vector<ShippedRecord> records) { return take_shipped({.records = std::move(records)}, keep, store, clock); }
  std::string log(AttemptId attempt) { return loop.run(store.read(attempt, 0, 1 << 20)).value(); }
};

TEST_F(Shipping, ABatchIsTakenForGoodAndTwiceIsOnce) {
  for (int time = 0; time < 2; ++time) {
    auto answer = loop.run(take({{mine, 0, "one\n"}, {other, 0, "hers\n"}, {mine, 4, "two\n"}}));
    ASSERT_TRUE(answer) << answer.error().message;
    EXPECT_EQ(to_json(*answer), R"({"logs":2,"bytes":13,"refused":0})");
  }
  EXPECT_EQ(log(mine), "one\ntwo\n");
  LogStore restarted(*db, blobs, clock);
  EXPECT_EQ(loop.run(restarted.read(mine, 0, 100)).value(), "one\ntwo\n") << "what was acknowledged outlives the server";
}

TEST_F(Shipping, ABatchThatOvertookAnotherWaitsForIt) {
  Result<ShippedAnswer> early = fail(Errc::internal, "not answered");
  auto story = [&]() -> Task<void> {
    Scope scope(loop.loop());
    auto late = [&]() -> Task<void> { early = co_await take({{mine, 4, "two\n"}}); };
    scope.spawn(late());
    co_await sleep_for(clock, 1s);
    auto first = co_await take({{mine, 0, "one\n"}});
    EXPECT_TRUE(first);
    co_await scope.join();
  };
  loop.run(story());
  ASSERT_TRUE(early) << early.error().message;
  EXPECT_EQ(log(mine), "one\ntwo\n");
}

TEST_F(Shipping, AGapThatStaysIsNamedAndTheOtherLogsAreTaken) {
  auto began = clock.now();
  auto answer = loop.run(take({{mine, 4, "two\n"}, {other, 0, "hers\n"}}));
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->logs, 1u);
  EXPECT_EQ(answer->refused, 1u);
  EXPECT_EQ(answer->why, "log " + mine.str() + ": the bytes from 0 on are missing");
  EXPECT_EQ(log(other), "hers\n");
  EXPECT_EQ(clock.now() - began, shipped_gap_patience);
}

TEST_F(Shipping, AServerThatCannotNowAsksForTheBatchAgain) {
  keep = [](AttemptId, std::string) -> Task<Result<LogsAnswer>> { co_return fail(Errc::unavailable, "the database is away"); };
  auto answer = loop.run(take({{mine, 0, "one\n"}}));
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, Errc::unavailable);
}

TEST_F(Shipping, AnAttemptThatIsOverDoesNotHoldUpTheOthers) {
  auto into_store = keep;
  keep = [this, into_store](AttemptId attempt, std::string frames) -> Task<Result<LogsAnswer>> {
    if (attempt == mine) co_return fail(Errc::fenced, "the attempt has ended");
    co_return co_await into_store(attempt, std::move(frames));
  };
  auto answer = loop.run(take({{mine, 0, "late\n"}, {other, 0, "hers\n"}}));
  ASSERT_TRUE(answer);
  EXPECT_EQ(to_json(*answer), R"({"logs":1,"bytes":5,"refused":1,"why":"the attempt has ended"})");
}

TEST_F(Shipping, ACallerWhoSpeaksForAnotherAttemptIsTold) {
  keep = [](AttemptId, std::string) -> Task<Result<LogsAnswer>> { co_return fail(Errc::unauthenticated, "this is not the attempt's token"); };
  auto answer = loop.run(take({{mine, 0, "forged\n"}}));
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, Errc::unauthenticated);
}

TEST_F(Shipping, ALogComesByTheBusAsJsonAndAsFrames) {
  auto bus = make_memory_bus(clock, {});
  auto cache = make_memory_cache(clock);
  LogAggregator aggregator(*db, blobs, *bus, *cache, clock, loop.loop());
  std::string frames;
  append_frame(frames, {.offset = 4, .text = "two\nthr"});
  auto id = mine.str();
  auto story = [&]() -> Task<void> {
    Scope scope(loop.loop());
    scope.spawn(aggregator.run());
    auto by_shipper = [&](std::string text) { return bus->publish(topic::logs, {{.key = id, .payload = std::move(text)}}); };
    (void)co_await by_shipper(R"([{"file":"/l/)" + id + R"(.log","offset":0,"message":"one"},{"nonsense":1}])");
    (void)co_await by_shipper(frames);
    (void)co_await by_shipper(R"({"attempt":")" + id + R"(","offset":8,"text":"three\n"})");
    (void)co_await by_shipper("{\"hostile\":");
    while (co_await stored_log_end(*db, mine) != 14) co_await sleep_for(clock, 1s);
    scope.cancel();
    co_await scope.join();
  };
  loop.run(story());
  EXPECT_EQ(log(mine), "one\ntwo\nthree\n");
}

TEST_F(Shipping, WhatWasNoRecordIsCounted) {
  auto answer = loop.run(take_shipped({.records = {}, .refused = 2, .first_refusal = "not JSON"}, keep, store, clock));
  ASSERT_TRUE(answer);
  EXPECT_EQ(to_json(*answer), R"({"logs":0,"bytes":0,"refused":2,"why":"not JSON"})");
}

}  // namespace
}  // namespace mayfly
