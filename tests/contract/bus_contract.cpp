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
  auto nothing = run(member->poll(1, around.clock->now()));
  EXPECT_TRUE(nothing && nothing->empty()) << (nothing ? "" : nothing.error().message);
  return member;
}

std::pair<std::unique_ptr<Subscription>, std::unique_ptr<Subscription>> BusContract::join_two() {
  auto a = join("g"), b = join("g");
  auto round_of_both = [&](std::string round) -> Task<bool> {
    constexpr std::size_t probes = 64;
    std::vector<Message> batch;
    for (std::size_t i = 0; i < probes; ++i) batch.push_back({"key " + std::to_string(i), round});
    EXPECT_TRUE(co_await bus->publish(topic, batch));
    std::size_t got[2] = {0, 0};
    auto until = around.clock->now() + GetParam().patience;
    while (got[0] + got[1] < probes && around.clock->now() < until)
      for (auto* member : {a.get(), b.get()}) {
        auto some = co_await member->poll(100, around.clock->now() + 20ms);
        EXPECT_TRUE(some);
        if (!some || some->empty()) continue;
        (void)co_await member->commit(some->back().position);
        got[member == b.get()] += std::size_t(std::ranges::count(*some, round, &Message::payload));
      }
    co_return got[0] > 0 && got[1] > 0 && got[0] + got[1] == probes;
  };
  constexpr int max_rounds = 100;
  int round = 0;
  while (round < max_rounds && !run(round_of_both("round " + std::to_string(round)))) ++round;
  EXPECT_LT(round, max_rounds) << "the members do not come to divide the keys";
  return {std::move(a), std::move(b)};
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

std::array<std::vector<Message>, 2> BusContract::receive(Subscription& a, Subscription& b, std::size_t count) {
  std::array<std::vector<Message>, 2> got;
  auto until = around.clock->now() + GetParam().patience;
  auto poller = [&](Subscription& from, std::vector<Message>& into) -> Task<void> {
    bool more = true;
    while (around.clock->now() < until && (more || got[0].size() + got[1].size() < count)) {
      auto some = co_await from.poll(100, around.clock->now() + 20ms);
      EXPECT_TRUE(some);
      more = some && !some->empty();
      if (more) std::ranges::move(*some, std::back_inserter(into));
    }
  };
  auto both = [&]() -> Task<void> {
    Scope scope(around.loop->loop());
    scope.spawn(poller(a, got[0]));
    scope.spawn(poller(b, got[1]));
    co_await scope.join();
  };
  around.loop->run(both());
  return got;
}

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
  auto [a, b] = join_two();
  constexpr int keys = 40, rounds = 5;
  std::vector<Message> batch;
  for (int round = 0; round < rounds; ++round)
    for (int key = 0; key < keys; ++key) batch.push_back({"key " + std::to_string(key), std::to_string(round)});
  ASSERT_TRUE(run(bus->publish(topic, batch)));

  auto got = receive(*a, *b, keys * rounds);
  std::map<std::string, std::vector<std::string>> by_key[2];
  for (int member = 0; member < 2; ++member)
    for (auto& m : got[member]) by_key[member][m.key].push_back(m.payload);
  EXPECT_GT(by_key[0].size(), 5u);
  EXPECT_GT(by_key[1].size(), 5u);
  EXPECT_EQ(by_key[0].size() + by_key[1].size(), std::size_t(keys)) << "a key belongs to one member";
  for (auto& keys_of : by_key)
    for (auto& [key, rounds_of] : keys_of) EXPECT_THAT(rounds_of, ElementsAre("0", "1", "2", "3", "4")) << key;
}

TEST_P(BusContract, AKeyKeepsItsOrderWhileMembersComeAndGo) {
  constexpr int keys = 12, rounds = 40;
  std::map<std::string, int> next;  // of each key, the number that was not seen yet
  bool all_published = false;
  auto complete = [&] { return all_published && next.size() == std::size_t(keys) && std::ranges::all_of(next, [](auto& key) { return key.second == rounds; }); };
  auto publisher = [&]() -> Task<void> {
    for (int round = 0; round < rounds; ++round) {
      std::vector<Message> batch;
      for (int key = 0; key < keys; ++key) batch.push_back({"key " + std::to_string(key), std::to_string(round)});
      EXPECT_TRUE(co_await bus->publish(topic, std::move(batch)));
      co_await sleep_for(*around.clock, 10ms);
    }
    all_published = true;
  };
  auto until = around.clock->now() + 3 * GetParam().patience + 1s;
  auto member = [&](int polls) -> Task<void> {
    auto me = bus->subscribe(topic, "g");
    for (int poll = 0; (polls == 0 || poll < polls) && !complete() && around.clock->now() < until; ++poll) {
      auto some = co_await me->poll(7, around.clock->now() + 20ms);
      EXPECT_TRUE(some) << some.error().message;
      if (!some || some->empty()) continue;
      for (auto& m : *some) {
        auto number = std::stoi(m.payload);
        EXPECT_LE(number, next[m.key]) << m.key << ": a number came before the one published before it";
        next[m.key] = std::max(next[m.key], number + 1);
      }
      (void)co_await me->commit(some->back().position);
    }
  };
  auto coming_and_going = [&]() -> Task<void> {
    for (int visit = 0; visit < 4; ++visit) co_await member(10);
  };
  auto first = join("g");
  auto story = [&]() -> Task<void> {
    Scope scope(around.loop->loop());
    scope.spawn(member(0));
    scope.spawn(coming_and_going());
    scope.spawn(publisher());
    first.reset();
    co_await scope.join();
  };
  around.loop->run(story());
  EXPECT_EQ(next.size(), std::size_t(keys));
  EXPECT_TRUE(complete()) << "each message came to somebody";
}

TEST_P(BusContract, WhatIsPublishedAfterAnyMembersFirstPollIsNotMissed) {
  std::set<std::string> expected, seen;
  std::vector<std::unique_ptr<Subscription>> members;
  for (int i = 0; i < 3; ++i) members.push_back(bus->subscribe(topic, "g"));
  auto member = [&](Subscription& me, std::string name) -> Task<void> {
    auto first = co_await me.poll(100, around.clock->now());
    EXPECT_TRUE(first) << first.error().message;
    for (auto& m : *first) seen.insert(m.payload);
    for (int key = 0; key < 20; ++key) {
      auto payload = name + " " + std::to_string(key);
      expected.insert(payload);
      EXPECT_TRUE(co_await bus->publish(topic, {{"key " + std::to_string(key), payload}}));
    }
    auto until = around.clock->now() + GetParam().patience;
    while (around.clock->now() < until && (expected.size() < 60 || seen.size() < expected.size())) {
      auto some = co_await me.poll(100, around.clock->now() + 20ms);
      EXPECT_TRUE(some) << some.error().message;
      for (auto& m : *some) seen.insert(m.payload);
    }
  };
  auto story = [&]() -> Task<void> {
    Scope scope(around.loop->loop());
    for (std::size_t i = 0; i < members.size(); ++i) {
      scope.spawn(member(*members[i], "member " + std::to_string(i)));
      co_await sleep_for(*around.clock, 5ms);
    }
    co_await scope.join();
  };
  around.loop->run(story());
  EXPECT_EQ(seen, expected);
}

TEST_P(BusContract, ACommitCoversWhatWasPolledBeforeWhateverItsKey) {
  constexpr int messages = 100, done = 37;
  std::set<std::string> rest;
  {
    auto member = join("g");
    std::vector<Message> batch;
    for (int i = 0; i < messages; ++i) batch.push_back({"key " + std::to_string(i % 20), std::to_string(i)});
    ASSERT_TRUE(run(bus->publish(topic, batch)));
    auto got = receive(*member, messages);
    ASSERT_EQ(got.size(), std::size_t(messages));
    ASSERT_TRUE(run(member->commit(got[done - 1].position)));
    for (std::size_t i = done; i < messages; ++i) rest.insert(got[i].payload);
  }
  auto member = bus->subscribe(topic, "g");
  std::multiset<std::string> again;
  for (auto& m : receive(*member, messages - done)) again.insert(m.payload);
  EXPECT_EQ(again, std::multiset<std::string>(rest.begin(), rest.end()));
}

TEST_P(BusContract, OneMemberDoesNotCommitWhatAnotherPolled) {
  std::set<std::string> of_other;
  {
    auto [a, b] = join_two();
    std::vector<Message> batch;
    for (int key = 0; key < 40; ++key) batch.push_back({"key " + std::to_string(key), std::to_string(key)});
    ASSERT_TRUE(run(bus->publish(topic, batch)));
    auto [of_a, of_b] = receive(*a, *b, batch.size());
    ASSERT_EQ(of_a.size() + of_b.size(), batch.size());
    ASSERT_FALSE(of_a.empty() || of_b.empty()) << "both have their share";
    ASSERT_TRUE(run(a->commit(of_a.back().position)));
    for (auto& m : of_b) of_other.insert(m.payload);
  }
  auto member = bus->subscribe(topic, "g");
  std::set<std::string> again;
  for (auto& m : receive(*member, of_other.size())) again.insert(m.payload);
  EXPECT_EQ(again, of_other);
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

TEST_P(BusContract, AnEmptyBatchIsPublishedAtOnce) { EXPECT_TRUE(run(bus->publish(topic, {}))); }

TEST_P(BusContract, ItSaysThatItIsThere) {
  auto here = run(bus->ping());
  EXPECT_TRUE(here) << here.error().message;
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
