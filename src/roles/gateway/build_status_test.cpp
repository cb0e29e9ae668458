#include "roles/gateway/build_status.h"

#include <gtest/gtest.h>

#include "adapters/memory/cache.h"
#include "support/run.h"
#include "support/virtual_clock.h"

namespace mayfly {
namespace {

using namespace std::chrono_literals;

/// A cache that answers what a test wants it to.
class LyingCache final : public Cache {
 public:
  explicit LyingCache(Clock& clock) : inner_(make_memory_cache(clock)) {}
  std::function<Result<std::optional<Cached>>(Result<std::optional<Cached>>)> lie = [](auto truth) { return truth; };
  bool takes = true;
  std::vector<std::pair<std::string, Cached>> stored;
  Duration life{};

  Task<Result<std::optional<Cached>>> get(std::string_view key) override { co_return lie(co_await inner_->get(key)); }
  Task<Result<bool>> set_if_newer(std::string_view key, Cached value, Duration ttl) override {
    if (!takes) co_return fail(Errc::unavailable, "away");
    stored.emplace_back(key, value);
    life = ttl;
    co_return co_await inner_->set_if_newer(key, std::move(value), ttl);
  }
  Task<Result<void>> remove(std::string_view key) override { return inner_->remove(key); }
  Task<Result<void>> publish(std::string_view channel, std::string_view message) override { return inner_->publish(channel, message); }
  Task<Result<Admission>> admit(std::string_view key, Rate rate, std::int64_t cost) override { return inner_->admit(key, rate, cost); }
  std::unique_ptr<CacheSubscription> subscribe(std::string_view channel) override { return inner_->subscribe(channel); }

 private:
  std::unique_ptr<Cache> inner_;
};

class BuildStatusTest : public testing::Test {
 protected:
  BuildStatusCache make(std::string form = "http://ci") {
    return BuildStatusCache(
        cache, form, [this](BuildId) -> Task<Result<std::int64_t>> {
          if (database_away) co_return fail(Errc::unavailable, "the database is away");
          co_return sequence;
        },
        [this, form](BuildId build) -> Task<Result<BuildRendering>> {
          ++rendered;
          co_return truth(build, form);
        });
  }
  BuildRendering truth(BuildId build, const std::string& form = "http://ci") const {
    return {.sequence = sequence, .terminal = terminal, .lasting = lasting, .json = "{\"" + build.str() + "\":" + std::to_string(sequence) + ",\"at\":\"" + form + "\"}"};
  }
  /// What a reader sees; nothing else than the truth, ever.
  void expect_truth(BuildStatusCache& status, int renderings) {
    rendered = 0;
    auto seen = loop.run(status.get(id));
    ASSERT_TRUE(seen);
    EXPECT_EQ(*seen, truth(id));
    EXPECT_EQ(rendered, renderings);
  }

  VirtualClock clock;
  TestLoop loop{clock};
  LyingCache cache{clock};
  BuildId id = *BuildId::parse("01900000-0000-7000-8000-000000000001");
  BuildId another = *BuildId::parse("01900000-0000-7000-8000-000000000002");
  std::int64_t sequence = 7;
  bool terminal = false, lasting = true, database_away = false;
  int rendered = 0;
};

TEST_F(BuildStatusTest, ARenderingIsMadeOnceForAllReaders) {
  auto one = make(), two = make();
  expect_truth(one, 1);
  expect_truth(one, 0);
  expect_truth(two, 0);
  ASSERT_EQ(cache.stored.size(), 1u);
  EXPECT_EQ(cache.stored[0].first, "build_status:" + id.str());
  EXPECT_EQ(cache.stored[0].second.sequence, 7);
  EXPECT_EQ(cache.life, 5min);
}

TEST_F(BuildStatusTest, AChangeIsSeenAtOnce) {
  auto status = make();
  expect_truth(status, 1);
  sequence = 8;
  terminal = true;
  expect_truth(status, 1);
  expect_truth(status, 0);
}

TEST_F(BuildStatusTest, ACacheThatIsLateIsNotBelieved) {
  auto status = make();
  expect_truth(status, 1);
  auto old = cache.stored[0].second;
  sequence = 8;
  cache.lie = [old](auto) { return std::optional(old); };
  for (int i = 0; i < 3; ++i) expect_truth(status, 1);
}

TEST_F(BuildStatusTest, ACacheThatIsAheadIsNotBelieved) {
  auto status = make();
  sequence = 9;
  expect_truth(status, 1);
  sequence = 8;   // the database is the truth even when it was set back
  expect_truth(status, 1);
  expect_truth(status, 1);
}

TEST_F(BuildStatusTest, ATextUnderAnotherNumberIsNotBelieved) {
  auto status = make();
  expect_truth(status, 1);
  auto relabeled = cache.stored[0].second;
  sequence = relabeled.sequence = 8;
  cache.lie = [relabeled](auto) { return std::optional(relabeled); };
  expect_truth(status, 1);
}

TEST_F(BuildStatusTest, GarbageIsNotBelieved) {
  auto status = make();
  expect_truth(status, 1);
  auto good = cache.stored[0].second.value;
  std::vector<std::string> values{"", "x", std::string(64, 'a'), std::string(65, '0'), good.substr(0, good.size() - 1), good + " ", good.substr(1)};
  for (std::size_t at = 0; at < good.size(); at += 7) {
    values.push_back(good);
    values.back()[at] ^= 1;
  }
  for (auto& value : values) {
    cache.lie = [&](auto) { return std::optional(Cached{sequence, value}); };
    expect_truth(status, 1);
  }
}

TEST_F(BuildStatusTest, AnotherBuildsTextIsNotBelieved) {
  auto status = make();
  ASSERT_TRUE(loop.run(status.get(another)));
  auto others = cache.stored[0].second;
  cache.lie = [others](auto) { return std::optional(others); };
  expect_truth(status, 1);
}

TEST_F(BuildStatusTest, AServerOfAnotherUrlRendersItself) {
  auto there = make("http://elsewhere");
  ASSERT_TRUE(loop.run(there.get(id)));
  auto here = make();
  expect_truth(here, 1);
}

TEST_F(BuildStatusTest, WithoutTheCacheReadersAreServed) {
  auto status = make();
  cache.takes = false;
  cache.lie = [](auto) { return fail(Errc::unavailable, "away"); };
  expect_truth(status, 1);
  cache.lie = [](auto) { return fail(Errc::corrupt, "not ours"); };
  expect_truth(status, 1);
  cache.lie = [](auto) { return std::optional<Cached>{}; };
  expect_truth(status, 1);
}

TEST_F(BuildStatusTest, WhatDoesNotLastIsNotKept) {
  auto status = make();
  lasting = false;
  expect_truth(status, 1);
  expect_truth(status, 1);
  EXPECT_TRUE(cache.stored.empty());
}

TEST_F(BuildStatusTest, WithoutTheDatabaseNothingIsShown) {
  auto status = make();
  expect_truth(status, 1);
  database_away = true;
  EXPECT_EQ(loop.run(status.get(id)).error().code, Errc::unavailable) << "however fresh the cache may look";
}

TEST_F(BuildStatusTest, ARenderingNewerThanTheNumberAskedForIsShownAndKeptAsItIs) {
  BuildStatusCache status(
      cache, "http://ci", [this](BuildId) -> Task<Result<std::int64_t>> { co_return sequence++; },   // it moves just after the question
      [this](BuildId build) -> Task<Result<BuildRendering>> { co_return truth(build); });
  auto seen = loop.run(status.get(id));
  ASSERT_TRUE(seen);
  EXPECT_EQ(seen->sequence, 8);
  EXPECT_EQ(cache.stored.at(0).second.sequence, 8);
}

}  // namespace
}  // namespace mayfly
