#include "contract/bus_contract.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <set>

#include "async/scope.h"

namespace mayfly::contract {

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(BusContract);

namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using namespace std::chrono_literals;

std::vector<std::string> payloads(const std::vector<Message>& messages) {
  std::vector<std::string> out;
  for (auto& m : messages) out.push_back(m.payload);
  return out;
}

}  // namespace

void BusContract::SetUp() {
  static int tests = 0;
  around = GetParam().surroundings();
  bus = GetParam().make(around);
  topic = "mayfly.test." + std::to_string(getpid()) + "." + std::to_string(++tests);
}

std::unique_ptr<Subscription> BusContract::join(std::string_view group) {
  auto member = bus->subscribe(topic, group);
  auto nothing = run(member->poll(1, around.clock->now() + GetParam().patience));
  EXPECT_TRUE(nothing && nothing->empty());
  return member;
}

void BusContract::publish(std::string key, std::string payload) {
  auto done = run(bus->publish(topic, {{std::move(key), std::move(payload)}}));
  EXPECT_TRUE(done) << done.error().message;
}

Task<std::vector<Message>> BusContract::receiving(Subscription& from, std::size_t count) {
  std::vector<Message> out;
  auto until = around.clock->now() + GetParam().patience;
  while (around.clock->now() < until) {
    auto more = co_await from.poll(100, out.size() < count ? until : around.clock->now() + 20ms);
    if (!more) {
      ADD_FAILURE() << more.error().message;
      break;
    }
    if (more->empty() && out.size() >= count) break;
    std::ranges::move(*more, std::back_inserter(out));
  }
  co_return out;
}

std::vector<Message> BusContract::receive(Subscription& from, std::size_t count) { return run(receiving(from, count)); }

TEST_P(BusContract, WhatIsPublishedIsPolledInOrder) {
  auto member = join("g");
  for (auto* payload : {"1", "2", "3"}) publish("k", payload);
  auto got = receive(*member, 3);
  EXPECT_THAT(payloads(got), ElementsAre("1", "2", "3"));
  EXPECT_EQ(got[0].key, "k");
  EXPECT_LT(got[0].position, got[1].position);
  EXPECT_LT(got[1].position, got[2].position);
}

TEST_P(BusContract, AnyBytesAreCarried) {
  auto member = join("g");
  std::string bytes("\0\n\xff☃", 6);
  publish(bytes, bytes + bytes);
  auto got = receive(*member, 1);
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(got[0].key, bytes);
  EXPECT_EQ(got[0].payload, bytes + bytes);
}

TEST_P(BusContract, ABatchKeepsItsOrder) {
  auto member = join("g");
  std::vector<Message> batch;
  std::vector<std::string> expected;
  for (int i = 0; i < 1000; ++i) {
    batch.push_back({"k", std::to_string(i)});
    expected.push_back(std::to_string(i));
  }
  ASSERT_TRUE(run(bus->publish(topic, batch)));
  EXPECT_EQ(payloads(receive(*member, 1000)), expected);
}

TEST_P(BusContract, APollReturnsNoMoreThanAsked) {
  auto member = join("g");
  ASSERT_TRUE(run(bus->publish(topic, {{"k", "1"}, {"k", "2"}, {"k", "3"}})));
  std::vector<std::string> got;
  while (got.size() < 3) {
    auto some = run(member->poll(2, around.clock->now() + GetParam().patience));
    ASSERT_TRUE(some);
    ASSERT_FALSE(some->empty());
    EXPECT_LE(some->size(), 2u);
    for (auto& m : *some) got.push_back(m.payload);
  }
  EXPECT_THAT(got, ElementsAre("1", "2", "3"));
}

TEST_P(BusContract, APollWithNothingToSayReturnsAtItsTime) {
  auto member = join("g");
  auto until = around.clock->now() + 50ms;
  auto got = run(member->poll(10, until));
  ASSERT_TRUE(got);
  EXPECT_THAT(*got, IsEmpty());
  EXPECT_GE(around.clock->now(), until);
}

TEST_P(BusContract, AWaitingPollIsWokenByAMessage) {
  auto member = join("g");
  auto publisher = [&]() -> Task<void> {
    co_await sleep_for(*around.clock, 20ms);
    (void)co_await bus->publish(topic, {{"k", "news"}});
  };
  auto story = [&]() -> Task<void> {
    Scope scope(around.loop->loop());
    scope.spawn(publisher());
    auto until = around.clock->now() + 1h;
    auto got = co_await member->poll(10, until);
    EXPECT_TRUE(got && got->size() == 1);
    EXPECT_LT(around.clock->now(), until - 30min);
    co_await scope.join();
  };
  around.loop->run(story());
}

TEST_P(BusContract, EachGroupSeesEachMessage) {
  auto a = join("a"), b = join("b");
  publish("k", "1");
  EXPECT_THAT(payloads(receive(*a, 1)), ElementsAre("1"));
  EXPECT_THAT(payloads(receive(*b, 1)), ElementsAre("1"));
}

TEST_P(BusContract, ANewGroupStartsAtTheEnd) {
  publish("k", "old");
  auto member = join("g");
  publish("k", "new");
  EXPECT_THAT(payloads(receive(*member, 1)), ElementsAre("new"));
}

TEST_P(BusContract, AGroupGoesOnWhereItCommitted) {
  {
    auto member = join("g");
    for (auto* payload : {"1", "2", "3"}) publish("k", payload);
    auto got = receive(*member, 3);
    ASSERT_EQ(got.size(), 3u);
    ASSERT_TRUE(run(member->commit(got[1].position)));
  }
  publish("k", "4");
  auto member = bus->subscribe(topic, "g");
  EXPECT_THAT(payloads(receive(*member, 2)), ElementsAre("3", "4"));
}

TEST_P(BusContract, CommittingBackwardsChangesNothing) {
  {
    auto member = join("g");
    for (auto* payload : {"1", "2", "3"}) publish("k", payload);
    auto got = receive(*member, 3);
    ASSERT_EQ(got.size(), 3u);
    ASSERT_TRUE(run(member->commit(got[2].position)));
    ASSERT_TRUE(run(member->commit(got[0].position)));
  }
  publish("k", "4");
  auto member = bus->subscribe(topic, "g");
  EXPECT_THAT(payloads(receive(*member, 1)), ElementsAre("4"));
}

TEST_P(BusContract, MembersOfAGroupDivideTheKeys) {
  auto a = bus->subscribe(topic, "g"), b = bus->subscribe(topic, "g");
  (void)receive(*a, 0);
  (void)receive(*b, 0);
  constexpr int keys = 40, rounds = 5;
  std::vector<Message> batch;
  for (int round = 0; round < rounds; ++round)
    for (int key = 0; key < keys; ++key) batch.push_back({"key " + std::to_string(key), std::to_string(round)});
  ASSERT_TRUE(run(bus->publish(topic, batch)));

  std::vector<Message> got[2];
  auto poller = [&](Subscription& from, std::vector<Message>& into) -> Task<void> { into = co_await receiving(from, keys * rounds); };
  auto both = [&]() -> Task<void> {
    Scope scope(around.loop->loop());
    scope.spawn(poller(*a, got[0]));
    scope.spawn(poller(*b, got[1]));
    co_await scope.join();
  };
  around.loop->run(both());

  std::map<std::string, std::vector<std::string>> by_key[2];
  for (int member = 0; member < 2; ++member)
    for (auto& m : got[member]) by_key[member][m.key].push_back(m.payload);
  EXPECT_GT(by_key[0].size(), 5u);
  EXPECT_GT(by_key[1].size(), 5u);
  EXPECT_EQ(by_key[0].size() + by_key[1].size(), std::size_t(keys)) << "a key belongs to one member";
  for (auto& keys_of : by_key)
    for (auto& [key, rounds_of] : keys_of) EXPECT_THAT(rounds_of, ElementsAre("0", "1", "2", "3", "4")) << key;
}

TEST_P(BusContract, WhatAMemberLeavesUndoneGoesToAnother) {
  auto leaver = join("g");
  std::set<std::string> expected;
  for (int key = 0; key < 20; ++key) {
    publish("key " + std::to_string(key), std::to_string(key));
    expected.insert(std::to_string(key));
  }
  ASSERT_EQ(receive(*leaver, 20).size(), 20u);
  auto stayer = bus->subscribe(topic, "g");
  (void)run(stayer->poll(100, around.clock->now()));
  leaver.reset();
  std::set<std::string> seen;
  for (auto& m : receive(*stayer, 20)) seen.insert(m.payload);
  EXPECT_TRUE(std::ranges::includes(expected, seen));
  EXPECT_GE(seen.size(), 10u) << "what the leaver held was delivered again";
}

TEST_P(BusContract, AMessageAtTheLimitFitsAndOneByteMoreDoesNot) {
  auto member = join("g");
  Message largest{"k", std::string(max_message_bytes - 1, 'x')};
  ASSERT_TRUE(run(bus->publish(topic, {largest})));
  largest.payload += 'x';
  auto refused = run(bus->publish(topic, {{"k", "small"}, largest}));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::too_large);
  auto got = receive(*member, 1);
  ASSERT_EQ(got.size(), 1u) << "a refused batch leaves nothing";
  EXPECT_EQ(got[0].payload.size(), max_message_bytes - 1);
}

TEST_P(BusContract, ACanceledPollUnwinds) {
  auto member = join("g");
  bool returned = false;
  auto poller = [&]() -> Task<void> {
    (void)co_await member->poll(1, Time::max());
    returned = true;
  };
  auto story = [&]() -> Task<void> {
    Scope scope(around.loop->loop());
    scope.spawn(poller());
    co_await sleep_for(*around.clock, 10ms);
    scope.cancel();
    co_await scope.join();
  };
  around.loop->run(story());
  EXPECT_FALSE(returned);
}

}  // namespace mayfly::contract
