#include "roles/common/rate_limits.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "adapters/memory/cache.h"
#include "support/run.h"
#include "support/virtual_clock.h"

namespace mayfly {
namespace {

using namespace std::chrono_literals;

/// A cache that a test takes away.
class FragileCache final : public Cache {
 public:
  explicit FragileCache(Clock& clock) : inner_(make_memory_cache(clock)) {}
  bool away = false;

  Task<Result<Admission>> admit(std::string_view key, Rate rate, std::int64_t cost) override {
    if (away) co_return fail(Errc::unavailable, "away");
    co_return co_await inner_->admit(key, rate, cost);
  }
  Task<Result<std::optional<Cached>>> get(std::string_view key) override { return inner_->get(key); }
  Task<Result<bool>> set_if_newer(std::string_view key, Cached value, Duration ttl) override { return inner_->set_if_newer(key, std::move(value), ttl); }
  Task<Result<void>> remove(std::string_view key) override { return inner_->remove(key); }
  Task<Result<void>> publish(std::string_view channel, std::string_view message) override { return inner_->publish(channel, message); }
  std::unique_ptr<CacheSubscription> subscribe(std::string_view channel) override { return inner_->subscribe(channel); }

 private:
  std::unique_ptr<Cache> inner_;
};

class RateLimitsTest : public testing::Test {
 protected:
  VirtualClock clock;
  TestLoop loop{clock};
  FragileCache cache{clock};
  RateTable table{.token = Rate{2, 10s}, .organization = Rate{3, 10s}, .deliveries = Rate{2, 1s}};
  OrganizationId acme = *OrganizationId::parse("01900000-0000-7000-8000-000000000001");
  OrganizationId other = *OrganizationId::parse("01900000-0000-7000-8000-000000000002");
};

TEST_F(RateLimitsTest, ATokenOverItsRateIsToldWhichLimitAndWhenToComeAgain) {
  RateLimits limits(cache, clock, table);
  for (int i = 0; i < 2; ++i) EXPECT_TRUE(loop.run(limits.check_token("a")));
  auto refused = loop.run(limits.check_token("a"));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error(), (Error{Errc::rate_limited, "too many requests with this token: the limit is 2 at once, then one each 10s", "come again in 10 s"}));
  EXPECT_EQ(RateLimits::retry_after(refused.error()), 10s);
  EXPECT_TRUE(loop.run(limits.check_token("b"))) << "another token";
  clock.advance(9'500ms);
  EXPECT_EQ(RateLimits::retry_after(loop.run(limits.check_token("a")).error()), 1s) << "half a second is said as one";
  clock.advance(500ms);
  EXPECT_TRUE(loop.run(limits.check_token("a")));
}

TEST_F(RateLimitsTest, AnOrganizationsLimitIsSharedByProcesses) {
  RateLimits one(cache, clock, table), two(cache, clock, table);
  EXPECT_TRUE(loop.run(one.check_organization(acme)));
  EXPECT_TRUE(loop.run(two.check_organization(acme)));
  EXPECT_TRUE(loop.run(one.check_organization(acme)));
  EXPECT_FALSE(loop.run(two.check_organization(acme)));
  EXPECT_TRUE(loop.run(two.check_organization(other)));
}

TEST_F(RateLimitsTest, WithoutTheCacheEachProcessCountsItself) {
  RateLimits one(cache, clock, table), two(cache, clock, table);
  for (int i = 0; i < 2; ++i) EXPECT_TRUE(loop.run(one.check_token("a")));
  cache.away = true;
  for (int i = 0; i < 2; ++i) EXPECT_TRUE(loop.run(one.check_token("a"))) << "a burst anew rather than a refusal";
  EXPECT_FALSE(loop.run(one.check_token("a")));
  EXPECT_TRUE(loop.run(two.check_token("a")));
}

TEST_F(RateLimitsTest, NoRateIsNoLimit) {
  RateLimits limits(cache, clock, {.token = {}, .organization = {}, .deliveries = {}});
  for (int i = 0; i < 100; ++i) {
    EXPECT_TRUE(loop.run(limits.check_token("a")));
    EXPECT_TRUE(loop.run(limits.check_organization(acme)));
    EXPECT_EQ(loop.run(limits.delivery_turn(acme, false)), 0s);
  }
}

TEST_F(RateLimitsTest, DeliveriesOverTheRateGetTurnsOneAfterAnother) {
  RateLimits limits(cache, clock, table);
  std::vector<Duration> turns;
  for (int i = 0; i < 6; ++i) turns.push_back(loop.run(limits.delivery_turn(acme, false)));
  EXPECT_EQ(turns, (std::vector<Duration>{0s, 0s, 1s, 2s, 3s, 4s}));
  EXPECT_EQ(loop.run(limits.delivery_turn(other, false)), 0s);
}

TEST_F(RateLimitsTest, OneThatWaitedGoesBeforeThoseThatCameMeanwhile) {
  RateLimits limits(cache, clock, table);
  for (int i = 0; i < 4; ++i) (void)loop.run(limits.delivery_turn(acme, false));
  clock.advance(1s);
  EXPECT_EQ(loop.run(limits.delivery_turn(acme, false)), 2s) << "behind the two that wait";
  EXPECT_EQ(loop.run(limits.delivery_turn(acme, true)), 0s) << "its turn";
}

TEST_F(RateLimitsTest, AFloodIsProcessedAtTheRateAndEachComesBackFewTimes) {
  RateLimits one(cache, clock, table), two(cache, clock, table);
  struct Waiting {
    RateLimits* process;
    Time due;
    int turns = 0;
  };
  std::vector<Waiting> waiting;
  for (int i = 0; i < 200; ++i) waiting.push_back({i % 2 ? &one : &two, clock.now()});
  auto began = clock.now();
  int asked = 0;
  while (!waiting.empty()) {
    auto next = std::ranges::min_element(waiting, {}, &Waiting::due);
    if (next->due > clock.now()) clock.advance(next->due - clock.now());
    ++asked;
    auto wait = loop.run(next->process->delivery_turn(acme, next->turns++ > 0));
    if (wait == 0s) waiting.erase(next);
    else next->due = clock.now() + wait;
  }
  EXPECT_GE(clock.now() - began, 197s) << "two at once, then one a second";
  EXPECT_LE(clock.now() - began, 230s) << "and hardly slower than that";
  EXPECT_LE(asked, 200 * 12);
}

TEST_F(RateLimitsTest, ATurnIsNeverFartherThanItsLimit) {
  RateLimits limits(cache, clock, {.deliveries = Rate{1, 50min}});
  (void)loop.run(limits.delivery_turn(acme, false));
  EXPECT_EQ(loop.run(limits.delivery_turn(acme, false)), 50min);
  EXPECT_EQ(loop.run(limits.delivery_turn(acme, false)), max_delivery_wait);
  EXPECT_EQ(loop.run(limits.delivery_turn(acme, false)), max_delivery_wait);
}

TEST_F(RateLimitsTest, AProcessCountsOnlySoManyKeys) {
  LocalRates rates;
  Rate rate{1, 1h};
  auto now = clock.now();
  for (std::size_t i = 0; i < max_local_rates; ++i) EXPECT_TRUE(rates.admit(std::to_string(i), rate, 1, now).admitted);
  EXPECT_FALSE(rates.admit("0", rate, 1, now).admitted) << "all are counted at the limit";
  EXPECT_EQ(rates.size(), max_local_rates);
  EXPECT_TRUE(rates.admit("one more", rate, 1, now).admitted);
  EXPECT_LE(rates.size(), max_local_rates);
  EXPECT_TRUE(rates.admit("0", rate, 1, now).admitted) << "past it, it begins anew";
}

}  // namespace
}  // namespace mayfly
