// The log path across nodes, over adapters in memory and on virtual time: gateways take in, aggregators store, viewers follow,
// and whatever may be lost is lost.

#include <gtest/gtest.h>

#include <algorithm>

#include "adapters/memory/bus.h"
#include "adapters/memory/cache.h"
#include "adapters/sqlite/sqlite.h"
#include "async/scope.h"
#include "base/log.h"
#include "roles/logs/bus_intake.h"
#include "roles/logs/compactor.h"
#include "roles/logs/live_logs.h"
#include "roles/logs/log_aggregator.h"
#include "roles/schema.h"
#include "simulation/memory_blobs.h"
#include "support/run.h"
#include "support/seeded_entropy.h"
#include "support/virtual_clock.h"

namespace mayfly {
namespace {

using namespace std::chrono_literals;

/// Passes messages on, or loses them, or is away; counts what it was given.
class TestBus final : public Bus {
 public:
  explicit TestBus(Clock& clock) : inner_(make_memory_bus(clock, {.max_kept_bytes = 256 << 20})) {}
  Task<Result<void>> publish(std::string_view topic, std::vector<Message> messages) override {
    if (away) co_return fail(Errc::unavailable, "the bus is away");
    for (auto& m : messages) {
      ++published;
      published_bytes += m.payload.size();
      largest = std::max(largest, m.payload.size());
    }
    if (loses > 0 && loses-- > 0) co_return Result<void>{};
    co_return co_await inner_->publish(topic, std::move(messages));
  }
  std::unique_ptr<Subscription> subscribe(std::string_view topic, std::string_view group) override { return inner_->subscribe(topic, group); }
  Task<Result<void>> ping() override { return inner_->ping(); }

  bool away = false;
  int loses = 0;                      // so many calls to come are acknowledged and lost
  int published = 0;
  std::size_t published_bytes = 0, largest = 0;

 private:
  std::unique_ptr<Bus> inner_;
};

class TestCache final : public Cache {
 public:
  explicit TestCache(Clock& clock) : inner_(make_memory_cache(clock)) {}
  Task<Result<std::optional<Cached>>> get(std::string_view key) override {
    if (dead) co_return fail(Errc::unavailable, "the cache is away");
    co_return co_await inner_->get(key);
  }
  Task<Result<bool>> set_if_newer(std::string_view key, Cached value, Duration ttl) override {
    if (dead) co_return fail(Errc::unavailable, "the cache is away");
    co_return co_await inner_->set_if_newer(key, std::move(value), ttl);
  }
  Task<Result<void>> remove(std::string_view key) override { co_return co_await inner_->remove(key); }
  Task<Result<Admission>> admit(std::string_view key, Rate rate, std::int64_t cost) override { co_return co_await inner_->admit(key, rate, cost); }
  Task<Result<void>> publish(std::string_view channel, std::string_view message) override {
    bool is_live = channel.starts_with("log:");
    if (is_live) ++live_messages;
    if (dead || (is_live && live_lost > 0 && live_lost-- > 0)) co_return Result<void>{};
    co_return co_await inner_->publish(channel, message);
  }
  std::unique_ptr<CacheSubscription> subscribe(std::string_view channel) override {
    if (channel.starts_with("log:")) ++live_subscriptions;
    return inner_->subscribe(channel);
  }

  bool dead = false;                  // takes nothing, says nothing
  int live_lost = 0;                  // so many live messages to come
  int live_messages = 0, live_subscriptions = 0;

 private:
  std::unique_ptr<Cache> inner_;
};

/// Lets writes wait while the process they belong to is stopped.
class StoppableDatabase final : public Database {
 public:
  StoppableDatabase(Database& inner, Clock& clock) : inner_(inner), clock_(clock) {}
  Task<Result<Rows>> query(Statement s) override { co_return co_await inner_.query(std::move(s)); }
  Task<Result<std::vector<Rows>>> transact(std::vector<Statement> unit) override {
    while (stopped) co_await sleep_for(clock_, 100ms);
    ++writes;
    co_return co_await inner_.transact(std::move(unit));
  }
  bool stopped = false;
  int writes = 0;

 private:
  Database& inner_;
  Clock& clock_;
};

struct GatewayNode {
  GatewayNode(Database& db, Blobs& blobs, Bus& bus, Cache& cache, Clock& clock, Loop loop)
      : intake(db, bus, cache, clock, loop), live(db, blobs, cache, clock, loop), scope(loop) {
    scope.spawn(intake.run());
    scope.spawn(live.run());
  }
  BusIntake intake;
  LiveLogs live;
  Scope scope;
};

struct AggregatorNode {
  AggregatorNode(Database& truth, Blobs& blobs, Bus& bus, Cache& cache, Clock& clock, Loop loop)
      : db(truth, clock), aggregator(db, blobs, bus, cache, clock, loop), scope(loop) {
    scope.spawn(aggregator.run());
  }
  StoppableDatabase db;
  LogAggregator aggregator;
  Scope scope;
};

struct AcrossNodes : testing::Test {
  static void SetUpTestSuite() { set_log_level(Level::error); }

  VirtualClock clock;
  TestLoop loop{clock};
  std::unique_ptr<Database> db = open_sqlite(":memory:", schema(), {.inline_mode = true}).value();
  simulation::MemoryBlobs blobs;
  TestBus bus{clock};
  TestCache cache{clock};
  AttemptId attempt = AttemptId::parse("01a20c91-8a13-73f1-a768-ae6b8ffe1a2c").value();
  std::vector<std::unique_ptr<GatewayNode>> gateways;
  std::vector<std::unique_ptr<AggregatorNode>> aggregators;

  GatewayNode& gateway() { return *gateways.emplace_back(std::make_unique<GatewayNode>(*db, blobs, bus, cache, clock, loop.loop())); }
  AggregatorNode& aggregator() {
    auto& node = *aggregators.emplace_back(std::make_unique<AggregatorNode>(*db, blobs, bus, cache, clock, loop.loop()));
    pass(10ms);
    return node;
  }
  void kill(Scope& scope) {
    auto task = [](Scope& s) -> Task<void> {
      s.cancel();
      co_await s.join();
    };
    loop.run(task(scope));
  }
  void TearDown() override {
    for (auto& node : gateways) kill(node->scope);
    for (auto& node : aggregators) node->db.stopped = false, kill(node->scope);
  }
  void pass(Duration d) { loop.run(sleep_for(clock, d)); }

  static std::string frame(std::int64_t offset, std::string_view text) {
    std::string out;
    append_frame(out, {.offset = offset, .time = {}, .text = text});
    return out;
  }
  Result<LogsAnswer> append(GatewayNode& to, std::int64_t offset, std::string_view text) {
    return loop.run(to.intake.append(attempt, frames_of(offset, text, clock.now())));
  }
  LogsAnswer position(GatewayNode& at) { return loop.run(at.intake.position(attempt)).value(); }
  Result<LogEnd> complete(GatewayNode& at, std::int64_t bytes) { return loop.run(at.intake.complete(attempt, bytes)); }
  std::string stored() {
    LogChunks chunks(*db, blobs, clock);
    std::string all;
    for (std::string part = " "; !part.empty(); all += part) part = loop.run(chunks.read(attempt, std::int64_t(all.size()), 64 << 20)).value();
    return all;
  }
  /// As a gateway serves a viewer: everything from `from` until nothing new has come for `quiet`.
  std::string follow(GatewayNode& at, std::int64_t from, Duration quiet) {
    auto task = [&]() -> Task<std::string> {
      std::string out;
      while (co_await at.live.wait_beyond(attempt, from + std::int64_t(out.size()), clock.now() + quiet)) {
        auto size = co_await at.live.size(attempt, false);
        auto text = co_await at.live.read(attempt, from + std::int64_t(out.size()), std::size_t(*size - from) - out.size());
        out += *text;
      }
      co_return out;
    };
    return loop.run(task());
  }
  static std::string much(std::size_t bytes) {
    std::string out(bytes, '.');
    for (std::size_t i = 0; i < bytes; i += 61) out[i] = char('a' + i % 26);
    return out;
  }
};

TEST_F(AcrossNodes, ALogGoesThroughAnyGatewayAndIsStored) {
  auto &one = gateway(), &other = gateway();
  aggregator();
  EXPECT_EQ(append(one, 0, "hello ")->next, 6);
  EXPECT_EQ(append(other, 6, "world")->next, 11);
  EXPECT_EQ(append(one, 11, "!")->next, 12);
  EXPECT_EQ(stored(), "") << "not before its time";
  pass(log_chunk_age + 1s);
  EXPECT_EQ(stored(), "hello world!");
  EXPECT_EQ(position(one).durable, 12);
  EXPECT_EQ(position(other).durable, 12) << "each heard of it";
}

TEST_F(AcrossNodes, ARunnerThatHopsSendsNothingTwice) {
  auto &one = gateway(), &other = gateway();
  std::size_t sent = 0;
  for (int i = 0; i < 20; ++i) {
    auto at = std::int64_t(i) * 5;
    sent += frame(at, "12345").size();
    ASSERT_EQ(append(i % 2 ? one : other, at, "12345")->next, at + 5);
  }
  EXPECT_EQ(bus.published_bytes, sent);
  pass(2s);
  EXPECT_EQ(position(gateway()).next, 100) << "a third one, that has never heard of it, was told by the cache";
  cache.dead = true;
  EXPECT_EQ(position(gateway()).next, 0) << "or else by the database, which has none of it yet";
}

TEST_F(AcrossNodes, WhatIsNoFrameIsRefused) {
  auto& to = gateway();
  auto half = frame(0, "abc");
  EXPECT_EQ(loop.run(to.intake.append(attempt, half.substr(0, half.size() - 1))).error().code, Errc::corrupt);
  EXPECT_EQ(loop.run(to.intake.append(attempt, "no frame, surely none, not even nearly")).error().code, Errc::corrupt);
  EXPECT_TRUE(append(to, max_log_bytes - 1, "x"));
  EXPECT_EQ(append(to, max_log_bytes, "x").error().code, Errc::too_large);
  auto published = bus.published;
  EXPECT_TRUE(loop.run(to.intake.append(attempt, log_mark(0, clock.now()))));
  EXPECT_EQ(bus.published, published) << "marks are the gateway's to set";
}

TEST_F(AcrossNodes, ALargeRequestIsCutBetweenFrames) {
  auto& to = gateway();
  aggregator();
  auto text = much(4'000'000);
  ASSERT_EQ(append(to, 0, text)->next, 4'000'000);
  EXPECT_GE(bus.published, 8);
  EXPECT_LE(bus.largest, max_log_message_bytes);
  ASSERT_EQ(complete(to, 4'000'000)->bytes, 4'000'000);
  EXPECT_TRUE(stored() == text);
}

TEST_F(AcrossNodes, WhileTheBusIsAwayTheRunnerKeepsItsLog) {
  auto& to = gateway();
  aggregator();
  bus.away = true;
  EXPECT_EQ(append(to, 0, "kept").error().code, Errc::unavailable);
  EXPECT_EQ(position(to).next, 0);
  EXPECT_EQ(complete(to, 4).error().code, Errc::unavailable);
  bus.away = false;
  EXPECT_EQ(append(to, 0, "kept")->next, 4);
  EXPECT_TRUE(complete(to, 4));
  EXPECT_EQ(stored(), "kept");
}

TEST_F(AcrossNodes, AnEndIsStoredAtOnce) {
  auto& to = gateway();
  aggregator();
  append(to, 0, "all of it");
  auto before = clock.now();
  auto end = complete(to, 9);
  ASSERT_TRUE(end);
  EXPECT_EQ(end->bytes, 9);
  EXPECT_TRUE(end->statements.empty());
  EXPECT_EQ(stored(), "all of it");
  EXPECT_LT(clock.now() - before, 50ms) << "a notice came, the database was not asked";
  EXPECT_TRUE(complete(gateway(), 9)) << "and again, at another gateway";
  EXPECT_TRUE(complete(to, 0));
}

TEST_F(AcrossNodes, AnEndIsHeardOfWithoutTheCache) {
  cache.dead = true;
  auto& to = gateway();
  aggregator();
  append(to, 0, "all of it");
  auto before = clock.now();
  EXPECT_TRUE(complete(to, 9));
  EXPECT_LT(clock.now() - before, 1s);
}

TEST_F(AcrossNodes, WithoutAnAggregatorAnEndIsOnItsWay) {
  auto& to = gateway();
  append(to, 0, "all of it");
  auto before = clock.now();
  EXPECT_EQ(complete(to, 9).error().code, Errc::unavailable);
  EXPECT_EQ(clock.now() - before, log_complete_limit);
  auto again = complete(to, 9);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, Errc::invalid) << "it has stalled: it is to be sent again";
  EXPECT_EQ(position(to).next, 0);
}

TEST_F(AcrossNodes, AGapIsNoticedAndFilled) {
  auto& to = gateway();
  aggregator();
  append(to, 0, "one ");
  bus.loses = 1;
  EXPECT_EQ(append(to, 4, "two ")->next, 8) << "the bus said that it has it";
  append(to, 8, "three");
  pass(10ms);
  EXPECT_EQ(position(to).next, 4) << "the aggregator says that it has not";
  EXPECT_EQ(append(to, 8, "three")->next, 4) << "and what lies beyond is not taken";
  EXPECT_EQ(append(to, 4, "two ")->next, 8);
  EXPECT_EQ(append(to, 8, "three")->next, 13);
  EXPECT_TRUE(complete(to, 13));
  EXPECT_EQ(stored(), "one two three");
}

TEST_F(AcrossNodes, AGapAtTheEndIsToldByFinish) {
  auto& to = gateway();
  aggregator();
  append(to, 0, "one ");
  bus.loses = 1;
  append(to, 4, "two");
  auto end = complete(to, 7);
  ASSERT_FALSE(end);
  EXPECT_EQ(end.error().code, Errc::invalid);
  EXPECT_NE(end.error().message.find("only 4 bytes"), std::string::npos) << end.error().message;
  EXPECT_EQ(position(to).next, 4);
  append(to, 4, "two");
  EXPECT_TRUE(complete(to, 7));
  EXPECT_EQ(stored(), "one two");
}

TEST_F(AcrossNodes, AGapNobodyHeardOfIsFoundByItsStall) {
  cache.dead = true;
  auto& to = gateway();
  aggregator();
  append(to, 0, "one ");
  bus.loses = 1;
  append(to, 4, "two ");
  pass(log_stall_after + log_doubt_after);
  EXPECT_EQ(position(to).durable, 4) << "the database was asked";
  pass(log_stall_after);
  EXPECT_EQ(position(to).next, 4);
  append(to, 4, "two ");
  EXPECT_TRUE(complete(to, 8));
  EXPECT_EQ(stored(), "one two ");
}

TEST_F(AcrossNodes, AStallIsAnsweredEverLessOften) {
  auto& to = gateway();
  auto wait_for_rewind = [&] {
    append(to, 0, "on its way");
    auto began = clock.now();
    while (position(to).next > 0) pass(1s);
    return clock.now() - began;
  };
  auto first = wait_for_rewind(), second = wait_for_rewind(), third = wait_for_rewind();
  EXPECT_EQ(first, log_stall_after);
  EXPECT_EQ(second, 2 * log_stall_after);
  EXPECT_EQ(third, 4 * log_stall_after) << "what is only late is not made later";
}

TEST_F(AcrossNodes, AnotherAggregatorGoesOnWhereOneDied) {
  auto& to = gateway();
  auto& first = aggregator();
  append(to, 0, "stored ");
  pass(log_chunk_age + 1s);
  append(to, 7, "in memory ");
  pass(1s);
  EXPECT_GT(first.aggregator.buffered_bytes(), 0u);
  kill(first.scope);
  aggregator();
  append(to, 17, "new");
  EXPECT_TRUE(complete(to, 20));
  EXPECT_EQ(stored(), "stored in memory new");
}

TEST_F(AcrossNodes, AZombieStoresNothingTwice) {
  auto& to = gateway();
  auto& zombie = aggregator();
  append(to, 0, "first ");
  pass(1s);
  zombie.db.stopped = true;                      // in the middle of a write, as SIGSTOP may
  pass(log_chunk_age + 1s);
  auto heir = make_memory_cache(clock);          // stays deaf: the heir finds out by itself
  AggregatorNode other(*db, blobs, bus, *heir, clock, loop.loop());
  // The bus has given up on the zombie, and replays what it had not committed.
  std::vector<Message> again{{attempt.str(), frames_of(0, "first ", clock.now())}, {attempt.str(), frames_of(6, "second ", clock.now())}};
  LogStore heirs(*db, blobs, clock);
  for (auto& m : again) ASSERT_TRUE(loop.run(heirs.append(attempt, m.payload)));
  ASSERT_TRUE(loop.run(heirs.flush(attempt)));
  EXPECT_EQ(stored(), "first second ");
  zombie.db.stopped = false;
  pass(1s);
  EXPECT_EQ(stored(), "first second ") << "its chunk is refused: there is one at that offset";
  append(to, 13, "third");
  EXPECT_TRUE(complete(to, 18));
  EXPECT_EQ(stored(), "first second third") << "and it goes on behind what it finds";
  kill(other.scope);
}

TEST_F(AcrossNodes, AZombieThatWakesAfterCompactionHidesNothing) {
  LogStore store(*db, blobs, clock), zombie(*db, blobs, clock);
  ASSERT_TRUE(loop.run(zombie.append(attempt, frames_of(0, "first ", clock.now()))));
  ASSERT_TRUE(loop.run(store.append(attempt, frames_of(0, "first second third", clock.now()))));
  ASSERT_TRUE(loop.run(store.flush(attempt)));
  SeededEntropy entropy(1);
  LogCompactor compactor(*db, blobs, clock, entropy);
  ASSERT_TRUE(loop.run(compactor.compact(attempt)).value());
  ASSERT_TRUE(loop.run(zombie.flush(attempt))) << "nothing stands at its offset any more";
  EXPECT_EQ(loop.run(stored_log_end(*db, attempt)), 18);
  EXPECT_EQ(stored(), "first second third");
}

TEST_F(AcrossNodes, LogsMayChangeHandsAtAnyTime) {
  auto& to = gateway();
  std::string log;
  aggregator();
  for (int round = 0; round < 30; ++round) {
    auto text = "round " + std::to_string(round) + "\n";
    ASSERT_EQ(append(to, std::int64_t(log.size()), text)->next, std::int64_t(log.size() + text.size()));
    log += text;
    pass(700ms);
    if (round % 3 == 1) aggregator();            // shares move to it …
    if (round % 3 == 2) kill(aggregators[std::size_t(round / 3)]->scope);   // … and from the one before it
  }
  EXPECT_TRUE(complete(to, std::int64_t(log.size())));
  EXPECT_EQ(stored(), log);
}

TEST_F(AcrossNodes, ABusEmptiedInTheMiddleCostsTime) {
  auto& to = gateway();
  std::string log;
  {
    auto& first = aggregator();
    append(to, 0, log += "before ");
    pass(1s);
    kill(first.scope);
  }
  bus.loses = 3;                                 // what is sent now never comes
  for (auto text : {"one ", "two ", "three "}) append(to, std::int64_t(log.size()), text), log += text;
  aggregator();
  append(to, std::int64_t(log.size()), "four"), log += "four";
  pass(100ms);
  auto next = position(to).next;
  EXPECT_LE(next, 7);
  append(to, next, std::string_view(log).substr(std::size_t(next)));
  EXPECT_TRUE(complete(to, std::int64_t(log.size())));
  EXPECT_EQ(stored(), log);
}

TEST_F(AcrossNodes, AViewerAtAnotherGatewaySeesALineAtOnce) {
  auto &to = gateway(), &viewers = gateway();
  aggregator();
  EXPECT_EQ(follow(viewers, 0, 100ms), "");
  append(to, 0, "a line\n");
  auto before = clock.now();
  auto task = [&]() -> Task<bool> { co_return co_await viewers.live.wait_beyond(attempt, 0, clock.now() + 1h); };
  EXPECT_TRUE(loop.run(task()));
  EXPECT_LT(clock.now() - before, 10ms);
  EXPECT_EQ(follow(viewers, 0, 10ms), "a line\n");
  EXPECT_EQ(stored(), "") << "and it is not stored yet";
}

TEST_F(AcrossNodes, WhoComesLateSeesStoredRecentAndLiveWithoutASeam) {
  auto &to = gateway(), &viewers = gateway();
  aggregator();
  append(to, 0, "stored ");
  pass(log_chunk_age + 1s);
  append(to, 7, "recent ");
  pass(100ms);
  EXPECT_EQ(follow(viewers, 0, 300ms), "stored recent ") << "an aggregator has told what it had in memory";
  append(to, 14, "live");
  EXPECT_EQ(follow(viewers, 3, 100ms), "red recent live");
}

TEST_F(AcrossNodes, ALostLiveFrameIsAskedFor) {
  auto &to = gateway(), &viewers = gateway();
  aggregator();
  follow(viewers, 0, 300ms);
  append(to, 0, "one ");
  pass(10ms);
  cache.live_lost = 1;
  append(to, 4, "two ");
  append(to, 8, "three");
  auto before = clock.now();
  EXPECT_EQ(follow(viewers, 0, 500ms), "one two three");
  EXPECT_LT(clock.now() - before, 1s);
  EXPECT_EQ(stored(), "");
}

TEST_F(AcrossNodes, WithoutTheCacheViewersSeeWhatIsStored) {
  cache.dead = true;
  auto &to = gateway(), &viewers = gateway();
  aggregator();
  append(to, 0, "slow but sure");
  auto before = clock.now();
  auto task = [&]() -> Task<bool> { co_return co_await viewers.live.wait_beyond(attempt, 0, clock.now() + 1h); };
  EXPECT_TRUE(loop.run(task()));
  EXPECT_LT(clock.now() - before, log_chunk_age + live_doubt_first + live_doubt_longest);
  EXPECT_EQ(follow(viewers, 0, 1s), "slow but sure");
}

TEST_F(AcrossNodes, ViewersShareASubscriptionWhichEndsAfterThem) {
  auto& at = gateway();
  auto story = [&]() -> Task<void> {
    Scope viewers(loop.loop());
    int woken = 0;
    auto viewer = [&]() -> Task<void> { woken += co_await at.live.wait_beyond(attempt, 0, clock.now() + 3s); };
    for (int i = 0; i < 100; ++i) viewers.spawn(viewer());
    co_await sleep_for(clock, 1s);
    (void)co_await at.intake.append(attempt, frame(0, "x"));
    co_await viewers.join();
    EXPECT_EQ(woken, 100);
  };
  loop.run(story());
  EXPECT_EQ(cache.live_subscriptions, 1);
  EXPECT_EQ(at.live.watched(), 1u);
  pass(3 * unwatched_log_kept);
  EXPECT_EQ(at.live.watched(), 0u);
}

TEST_F(AcrossNodes, NobodyWatchingNothingIsFed) {
  auto &to = gateway(), &viewers = gateway();
  append(to, 0, "unseen");
  pass(1s);
  EXPECT_EQ(cache.live_messages, 0);
  follow(viewers, 0, 100ms);
  append(to, 6, "seen");
  pass(1s);
  EXPECT_EQ(cache.live_messages, 1);
  pass(unwatched_log_kept + unwatched_log_kept + log_watch_kept);
  append(to, 10, "unseen again");
  pass(1s);
  EXPECT_EQ(cache.live_messages, 1);
}

TEST_F(AcrossNodes, WhatPoursIsReadFromStorage) {
  auto &to = gateway(), &viewers = gateway();
  aggregator();
  follow(viewers, 0, 100ms);
  auto text = much(12 << 20);
  std::string seen;
  for (std::size_t at = 0; at < text.size(); at += 1 << 20) {
    append(to, std::int64_t(at), std::string_view(text).substr(at, 1 << 20));
    if (at == 3 << 20) seen = follow(viewers, 0, 10ms);
  }
  EXPECT_TRUE(complete(to, std::int64_t(text.size())));
  seen += follow(viewers, std::int64_t(seen.size()), log_chunk_age + 1s);
  EXPECT_TRUE(seen == text) << seen.size() << " of " << text.size();
  EXPECT_LE(cache.live_messages, int(2 * max_live_bytes_per_second / max_log_message_bytes) + 8);
}

TEST_F(AcrossNodes, AnEndedAttemptWakesWhoFollows) {
  auto &to = gateway(), &viewers = gateway();
  auto story = [&]() -> Task<void> {
    Scope scope(loop.loop());
    Time woken{};
    auto viewer = [&]() -> Task<void> {
      EXPECT_TRUE(co_await viewers.live.wait_beyond(attempt, 0, clock.now() + 1h));
      woken = clock.now();
    };
    scope.spawn(viewer());
    co_await sleep_for(clock, 1s);
    auto at = clock.now();
    to.intake.ended(attempt);
    co_await scope.join();
    EXPECT_LT(woken - at, 10ms);
  };
  loop.run(story());
}

TEST(LogWire, LinesAreReadAsTheyWereWritten) {
  auto attempt = AttemptId::parse("01a20c91-8a13-73f1-a768-ae6b8ffe1a2c").value();
  std::vector<LogNotice> notices{{.attempt = attempt, .durable = 7}, {.attempt = attempt, .durable = 7, .gap = 9}, {.attempt = attempt, .durable = 8, .ended = true}};
  std::string lines;
  for (auto& n : notices) lines += to_line(n);
  EXPECT_EQ(notices_from(lines), notices);
  std::vector<LogWatch> watches{{.attempt = attempt}, {.attempt = attempt, .from = 3}};
  EXPECT_EQ(watches_from(to_line(watches[0]) + to_line(watches[1])), watches);
  for (auto junk : {"", "\n\n", "junk", "01a20c91-8a13-73f1-a768-ae6b8ffe1a2c", "01a20c91-8a13-73f1-a768-ae6b8ffe1a2c -4", "01a20c91-8a13-73f1-a768-ae6b8ffe1a2c 4 gap", "01a20c91-8a13-73f1-a768-ae6b8ffe1a2c 4 more"})
    EXPECT_TRUE(notices_from(junk).empty()) << junk;
}

TEST(LogWire, LinesAreCollectedIntoMessages) {
  LineBatches lines;
  std::string line(100, 'x');
  for (std::size_t i = 0; i < max_log_lines_bytes / 100; ++i) lines.add(line);
  lines.add(std::string(max_log_lines_bytes % 100, 'x'));
  EXPECT_EQ(lines.take().size(), 1u) << "at the limit";
  for (std::size_t i = 0; i < max_log_lines_bytes / 100; ++i) lines.add(line);
  lines.add(std::string(max_log_lines_bytes % 100 + 1, 'x'));
  EXPECT_EQ(lines.take().size(), 2u) << "one past it";
}

}  // namespace
}  // namespace mayfly
