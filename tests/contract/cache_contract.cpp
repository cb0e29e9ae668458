#include "contract/cache_contract.h"

#include "async/scope.h"

namespace mayfly::contract {

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(CacheContract);

using namespace std::chrono_literals;

void CacheContract::SetUp() {
  around = GetParam().surroundings();
  cache = GetParam().make(around);
}

std::string CacheContract::get(std::string_view key) {
  auto found = run(cache->get(key));
  if (!found) return "error";
  return *found ? (*found)->value + "@" + std::to_string((*found)->sequence) : "nothing";
}

bool CacheContract::set(std::string_view key, std::int64_t sequence, std::string value, Duration ttl) {
  auto done = run(cache->set_if_newer(key, {sequence, std::move(value)}, ttl));
  EXPECT_TRUE(done) << done.error().message;
  return done && *done;
}

Cache& CacheContract::other() {
  if (!second_cache && GetParam().second) second_cache = GetParam().second(around);
  return second_cache ? *second_cache : *cache;
}

std::string CacheContract::admit(Cache& with, std::string_view key, Rate rate, std::int64_t cost) {
  auto asked = run(with.admit(key, rate, cost));
  if (!asked) return std::string(to_string(asked.error().code));
  auto left = std::to_string(asked->remaining) + " left";
  EXPECT_EQ(asked->admitted, asked->retry_after == Duration{0});
  return asked->admitted ? "admitted, " + left : "refused, " + left;
}

std::string CacheContract::next(CacheSubscription& from) {
  return run(from.next(around.clock->now() + GetParam().patience)).value_or("nothing");
}

TEST_P(CacheContract, AValueIsGivenBackUntilItsTimeIsOver) {
  EXPECT_EQ(get("k"), "nothing");
  EXPECT_TRUE(set("k", 1, "v", 60ms));
  EXPECT_EQ(get("k"), "v@1");
  wait(80ms);
  EXPECT_EQ(get("k"), "nothing");
}

TEST_P(CacheContract, OnlyANewerSequenceIsTaken) {
  EXPECT_TRUE(set("k", 5, "five"));
  EXPECT_FALSE(set("k", 4, "four"));
  EXPECT_FALSE(set("k", 5, "five again"));
  EXPECT_EQ(get("k"), "five@5");
  EXPECT_TRUE(set("k", 6, "six"));
  EXPECT_EQ(get("k"), "six@6");
}

TEST_P(CacheContract, ARefusedValueDoesNotLengthenALife) {
  EXPECT_TRUE(set("k", 5, "five", 100ms));
  wait(40ms);
  EXPECT_FALSE(set("k", 5, "five", 1h));
  wait(80ms);
  EXPECT_EQ(get("k"), "nothing");
}

TEST_P(CacheContract, AfterItsTimeAnOlderSequenceIsTakenAgain) {
  EXPECT_TRUE(set("k", 5, "five", 20ms));
  wait(40ms);
  EXPECT_TRUE(set("k", 1, "one"));
  EXPECT_EQ(get("k"), "one@1");
}

TEST_P(CacheContract, SequencesOf64BitsAreCompared) {
  auto most = std::numeric_limits<std::int64_t>::max();
  EXPECT_TRUE(set("k", most - 1, "a"));
  EXPECT_TRUE(set("k", most, "b"));
  EXPECT_FALSE(set("k", most - 1, "a"));
  EXPECT_TRUE(set("low", -2, "a"));
  EXPECT_TRUE(set("low", -1, "b"));
}

TEST_P(CacheContract, AnyBytesAreAValue) {
  std::string bytes("\0\n\xff", 3);
  EXPECT_TRUE(set(bytes, 1, bytes));
  EXPECT_EQ(get(bytes), bytes + "@1");
  EXPECT_TRUE(set("empty", 1, ""));
  EXPECT_EQ(get("empty"), "@1");
}

TEST_P(CacheContract, WhatIsRemovedIsGone) {
  EXPECT_TRUE(set("k", 5, "five"));
  EXPECT_TRUE(run(cache->remove("k")));
  EXPECT_EQ(get("k"), "nothing");
  EXPECT_TRUE(run(cache->remove("k"))) << "absent is success";
  EXPECT_TRUE(set("k", 1, "one"));
}

TEST_P(CacheContract, ALifeOfLessThanAMillisecondIsRefused) {
  for (Duration ttl : {0us, -1us, 999us}) {
    auto refused = run(cache->set_if_newer("k", {1, "v"}, ttl));
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Errc::invalid);
  }
  EXPECT_TRUE(set("k", 1, "v", 1ms));
}

TEST_P(CacheContract, AMessageReachesAllWhoAreSubscribed) {
  auto a = cache->subscribe("c"), b = cache->subscribe("c"), other = cache->subscribe("d");
  EXPECT_EQ(next(*a), "nothing");
  EXPECT_EQ(next(*b), "nothing");
  EXPECT_EQ(next(*other), "nothing");
  for (auto* message : {"1", "2"}) ASSERT_TRUE(run(cache->publish("c", message)));
  EXPECT_EQ(next(*a), "1");
  EXPECT_EQ(next(*a), "2");
  EXPECT_EQ(next(*b), "1");
  EXPECT_EQ(next(*b), "2");
  EXPECT_EQ(next(*other), "nothing");
}

TEST_P(CacheContract, WhoComesLaterHearsOnlyWhatComesLater) {
  ASSERT_TRUE(run(cache->publish("c", "before")));
  auto late = cache->subscribe("c");
  EXPECT_EQ(next(*late), "nothing");
  ASSERT_TRUE(run(cache->publish("c", "after")));
  EXPECT_EQ(next(*late), "after");
}

TEST_P(CacheContract, PublishingToNobodyIsFine) { EXPECT_TRUE(run(cache->publish("nobody", "hello"))); }

TEST_P(CacheContract, OneWhoLeftIsForgotten) {
  auto stays = cache->subscribe("c");
  EXPECT_EQ(next(*stays), "nothing");
  (void)cache->subscribe("c");
  ASSERT_TRUE(run(cache->publish("c", "hello")));
  EXPECT_EQ(next(*stays), "hello");
}

TEST_P(CacheContract, AWaitingSubscriberIsWoken) {
  auto subscription = cache->subscribe("c");
  EXPECT_EQ(next(*subscription), "nothing");
  auto publisher = [&]() -> Task<void> {
    co_await sleep_for(*around.clock, 20ms);
    (void)co_await cache->publish("c", "news");
  };
  auto story = [&]() -> Task<void> {
    Scope scope(around.loop->loop());
    scope.spawn(publisher());
    auto until = around.clock->now() + 1h;
    EXPECT_EQ(co_await subscription->next(until), "news");
    EXPECT_LT(around.clock->now(), until - 30min);
    co_await scope.join();
  };
  around.loop->run(story());
}

TEST_P(CacheContract, ABurstIsAdmittedAndNothingBeyondIt) {
  Rate slow{.burst = 3, .each = 1h};
  EXPECT_EQ(admit(*cache, "r", slow), "admitted, 2 left");
  EXPECT_EQ(admit(*cache, "r", slow), "admitted, 1 left");
  EXPECT_EQ(admit(*cache, "r", slow), "admitted, 0 left");
  EXPECT_EQ(admit(*cache, "r", slow), "refused, 0 left");
  EXPECT_EQ(admit(*cache, "another", slow), "admitted, 2 left");
}

TEST_P(CacheContract, RetryAfterIsHonest) {
  Rate rate{.burst = 2, .each = 400ms};
  EXPECT_EQ(admit(*cache, "r", rate, 2), "admitted, 0 left");
  auto refused = run(cache->admit("r", rate, 1));
  ASSERT_TRUE(refused && !refused->admitted);
  EXPECT_GT(refused->retry_after, 0us);
  EXPECT_LE(refused->retry_after, 400ms);
  wait(refused->retry_after - 100ms);
  auto early = run(cache->admit("r", rate, 1));
  ASSERT_TRUE(early);
  if (!early->admitted) wait(early->retry_after + 1ms);  // a slow machine may have slept over the instant
  EXPECT_TRUE(early->admitted || run(cache->admit("r", rate, 1))->admitted);
}

TEST_P(CacheContract, TheSteadyRateIsWhatTheRateSays) {
  Rate rate{.burst = 2, .each = 20ms};
  auto began = around.clock->now();
  int admitted = 0;
  for (int i = 0; i < 20; ++i, wait(10ms)) admitted += admit(*cache, "r", rate).starts_with("admitted");
  auto could = 2 + (around.clock->now() - began) / rate.each;
  EXPECT_LE(admitted, could + 1);
  EXPECT_GE(admitted, std::min<std::int64_t>(20, could) - 3);
}

TEST_P(CacheContract, ALimitIsSharedByAllWhoShareTheCache) {
  Rate slow{.burst = 4, .each = 1h};
  EXPECT_EQ(admit(*cache, "r", slow), "admitted, 3 left");
  EXPECT_EQ(admit(other(), "r", slow), "admitted, 2 left");
  EXPECT_EQ(admit(*cache, "r", slow, 2), "admitted, 0 left");
  EXPECT_EQ(admit(other(), "r", slow), "refused, 0 left");
}

TEST_P(CacheContract, AllOfACostIsTakenOrNone) {
  Rate slow{.burst = 10, .each = 1h};
  EXPECT_EQ(admit(*cache, "r", slow, 7), "admitted, 3 left");
  EXPECT_EQ(admit(*cache, "r", slow, 4), "refused, 3 left");
  EXPECT_EQ(admit(*cache, "r", slow, 3), "admitted, 0 left");
}

TEST_P(CacheContract, RatesAndCostsThatMakeNoSenseAreRefused) {
  EXPECT_EQ(admit(*cache, "r", {.burst = 0, .each = 1s}), "invalid");
  EXPECT_EQ(admit(*cache, "r", {.burst = 1, .each = 0s}), "invalid");
  EXPECT_EQ(admit(*cache, "r", {.burst = 1, .each = max_burst_time + 1us}), "invalid");
  EXPECT_EQ(admit(*cache, "r", {.burst = 5, .each = 1s}, 6), "invalid");
  EXPECT_EQ(admit(*cache, "r", {.burst = 5, .each = 1s}, 0), "invalid");
  EXPECT_EQ(admit(*cache, "r", {.burst = max_burst, .each = 1us}), "admitted, 999999999 left");
}

TEST_P(CacheContract, KeysOfRatesAndOfValuesDoNotMeet) {
  EXPECT_TRUE(set("k", 1, "v"));
  EXPECT_EQ(admit(*cache, "k", {.burst = 2, .each = 1h}), "admitted, 1 left");
  EXPECT_EQ(get("k"), "v@1");
  EXPECT_TRUE(run(cache->remove("k")));
  EXPECT_EQ(admit(*cache, "k", {.burst = 2, .each = 1h}), "admitted, 0 left");
}

TEST_P(CacheContract, WhatOneSetsAndSaysAnotherSeesAndHears) {
  auto listening = other().subscribe("c");
  EXPECT_EQ(next(*listening), "nothing");
  EXPECT_TRUE(set("k", 5, "five"));
  auto seen = run(other().get("k"));
  ASSERT_TRUE(seen && *seen);
  EXPECT_EQ((*seen)->value, "five");
  auto older = run(other().set_if_newer("k", {4, "four"}, 1h));
  ASSERT_TRUE(older);
  EXPECT_FALSE(*older);
  ASSERT_TRUE(run(cache->publish("c", "hello")));
  EXPECT_EQ(next(*listening), "hello");
}

TEST_P(CacheContract, ASlowSubscriberLosesTheOldest) {
  auto slow = cache->subscribe("c");
  EXPECT_EQ(next(*slow), "nothing");
  for (int i = 0; i <= 1024; ++i) ASSERT_TRUE(run(cache->publish("c", std::to_string(i))));
  wait(GetParam().patience);
  EXPECT_EQ(next(*slow), "1") << "0 was the 1025th from the end";
  std::string last;
  for (auto message = next(*slow); message != "nothing"; message = next(*slow)) last = message;
  EXPECT_EQ(last, "1024");
}

}  // namespace mayfly::contract
