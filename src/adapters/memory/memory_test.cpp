// What only the ones in memory have: their bounds. The ports' own law is in tests/contract.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "adapters/memory/bus.h"
#include "adapters/memory/cache.h"
#include "support/run.h"
#include "support/virtual_clock.h"

namespace mayfly {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;

struct InMemory : testing::Test {
  template <class T>
  T run(Task<T> task) {
    return loop.run(std::move(task));
  }
  VirtualClock clock;
  TestLoop loop{clock};
};

struct Bounded : InMemory {
  void publish(std::string payload) {
    std::vector<Message> messages{{"k", std::move(payload)}};
    ASSERT_TRUE(run(bus->publish("t", messages)));
  }
  std::vector<std::string> poll(Subscription& from) {
    std::vector<std::string> out;
    for (auto& m : run(from.poll(1000, clock.now())).value()) out.push_back(m.payload);
    return out;
  }
  std::unique_ptr<Bus> bus = make_memory_bus(clock, {.max_kept_messages = 3, .max_kept_bytes = 100});
};

TEST_F(Bounded, ATopicKeepsItsNewestMessages) {
  auto member = bus->subscribe("t", "g");
  for (auto* payload : {"1", "2", "3"}) publish(payload);
  EXPECT_THAT(poll(*member), ElementsAre("1", "2", "3")) << "at the limit";
  for (auto* payload : {"4", "5", "6", "7"}) publish(payload);
  EXPECT_THAT(poll(*member), ElementsAre("5", "6", "7")) << "one past it, the oldest is gone";
}

TEST_F(Bounded, BytesAreLimitedToo) {
  auto member = bus->subscribe("t", "g");
  std::string half(49, 'x');  // and its key of one byte
  publish(half);
  publish(half);
  EXPECT_THAT(poll(*member), ElementsAre(half, half));
  publish(half);
  publish(half);
  publish("");
  EXPECT_THAT(poll(*member), ElementsAre(half, ""));
}

TEST_F(Bounded, AMessageLargerThanTheTopicPassesBy) {
  auto member = bus->subscribe("t", "g");
  publish(std::string(100, 'x'));
  EXPECT_THAT(poll(*member), IsEmpty());
  publish("next");
  EXPECT_THAT(poll(*member), ElementsAre("next"));
}

TEST_F(Bounded, ACommitBeforeWhatIsKeptIsHarmless) {
  {
    auto member = bus->subscribe("t", "g");
    publish("1");
    auto got = run(member->poll(1, clock.now())).value();
    for (int i = 2; i < 10; ++i) publish(std::to_string(i));
    ASSERT_TRUE(run(member->commit(got.at(0).position)));
  }
  auto member = bus->subscribe("t", "g");
  EXPECT_THAT(poll(*member), ElementsAre("7", "8", "9"));
}

TEST_F(Bounded, AGroupThatNeverCommittedIsForgotten) {
  (void)bus->subscribe("t", "viewer");
  publish("1");
  auto member = bus->subscribe("t", "viewer");
  EXPECT_THAT(poll(*member), IsEmpty()) << "it is a new group and starts at the end";
}

TEST_F(Bounded, TopicsDoNotShareTheirRoom) {
  auto member = bus->subscribe("t", "g");
  publish("1");
  std::vector<Message> many(10, {"k", "x"});
  ASSERT_TRUE(run(bus->publish("other", many)));
  EXPECT_THAT(poll(*member), ElementsAre("1"));
}

struct BoundedCache : InMemory {
  bool set(std::string_view key, std::string value) {
    return run(cache->set_if_newer(key, {1, std::move(value)}, 1h)).value();
  }
  bool has(std::string_view key) { return run(cache->get(key)).value().has_value(); }
  std::unique_ptr<Cache> cache = make_memory_cache(clock, {.max_keys = 3, .max_bytes = 100, .max_queued_messages = 3});
};

TEST_F(BoundedCache, TheKeyUnusedForLongestGoes) {
  for (auto* key : {"a", "b", "c"}) EXPECT_TRUE(set(key, "v"));
  EXPECT_TRUE(has("a") && has("b") && has("c")) << "at the limit";
  EXPECT_TRUE(has("a"));
  EXPECT_TRUE(set("d", "v"));
  EXPECT_FALSE(has("b")) << "one past it";
  EXPECT_TRUE(has("a") && has("c") && has("d"));
}

TEST_F(BoundedCache, BytesAreLimitedToo) {
  std::string half(49, 'x');  // and its key of one byte
  EXPECT_TRUE(set("a", half));
  EXPECT_TRUE(set("b", half));
  EXPECT_TRUE(has("a") && has("b"));
  EXPECT_TRUE(set("c", "v"));
  EXPECT_FALSE(has("a"));
  EXPECT_TRUE(has("b") && has("c"));
  EXPECT_TRUE(run(cache->remove("b")));
  EXPECT_TRUE(set("d", half));
  EXPECT_TRUE(has("c") && has("d")) << "what is removed makes room";
}

TEST_F(BoundedCache, AReplacedValueCountsOnce) {
  for (int sequence = 1; sequence < 50; ++sequence)
    EXPECT_TRUE(run(cache->set_if_newer("a", {sequence, std::string(40, 'x')}, 1h)).value());
  EXPECT_TRUE(set("b", std::string(40, 'x')));
  EXPECT_TRUE(has("a") && has("b"));
}

TEST_F(BoundedCache, AValueLargerThanTheCacheIsForgottenAtOnce) {
  EXPECT_TRUE(set("a", std::string(100, 'x')));
  EXPECT_FALSE(has("a"));
}

TEST_F(BoundedCache, ASlowSubscriberLosesTheOldest) {
  auto slow = cache->subscribe("c");
  for (int i = 1; i <= 5; ++i) ASSERT_TRUE(run(cache->publish("c", std::to_string(i))));
  std::vector<std::string> heard;
  while (auto message = run(slow->next(clock.now()))) heard.push_back(*message);
  EXPECT_THAT(heard, ElementsAre("3", "4", "5"));
}

}  // namespace
}  // namespace mayfly
