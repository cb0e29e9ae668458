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

}  // namespace mayfly::contract
