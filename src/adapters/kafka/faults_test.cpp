// A Kafka of the test's own, killed, paused and emptied while it is in use; and members that die.

#include <gtest/gtest.h>

#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <future>
#include <map>
#include <set>

#include "adapters/kafka/bus.h"
#include "adapters/kafka/test_kafka.h"
#include "adapters/system/system_clock.h"
#include "async/scope.h"
#include "base/json.h"
#include "support/crash.h"
#include "support/run.h"
#include "support/temp_dir.h"

namespace mayfly {
namespace {

using namespace std::chrono_literals;

constexpr Duration patience = 40s;  // for what comes sooner or later, on a busy machine
constexpr Duration a_few_seconds = 9s;

/// One broker for all tests here, made by scripts/servers.
class Broker final {
 public:
  Broker() { say("up kafka"); }
  ~Broker() { say("down"); }

  void start() { say("start kafka"); }
  void kill() { say("kill kafka"); }
  void pause() { ::kill(pid(), SIGSTOP); }
  void go_on() { ::kill(pid(), SIGCONT); }
  /// Its next start is its first.
  void forget_everything() { std::filesystem::remove(folder_.path() / "kafka/laid"); }
  /// While it does not run.
  void become_another_cluster() {
    auto file = folder_.path() / "kafka/data/meta.properties";
    std::stringstream text;
    text << std::ifstream(file).rdbuf();
    auto properties = text.str();
    auto at = properties.find("cluster.id=");
    ASSERT_NE(at, properties.npos);
    properties.replace(at + 11, 7, "another");
    std::ofstream(file) << properties;
  }

  std::string address() const {
    std::ifstream env(folder_.path() / "env");
    for (std::string line; std::getline(env, line);)
      if (line.starts_with("MAYFLY_TEST_KAFKA=")) return line.substr(line.find('=') + 1);
    return "";
  }

 private:
  void say(const std::string& what) {
    auto command = std::string(MAYFLY_SOURCE_DIR) + "/scripts/servers --dir " + folder_.path().string() + " " + what + " >&2";
    ASSERT_EQ(std::system(command.c_str()), 0) << command;
  }
  pid_t pid() const {
    std::ifstream file(folder_.path() / "kafka.process");
    std::stringstream text;
    text << file.rdbuf();
    return pid_t(parse_json(text.str())->at("pid").as_int64());
  }

  TempDir folder_;
};

class KafkaFaults : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (!kafka::broker_of_tests().empty()) broker = std::make_unique<Broker>();
  }
  static void TearDownTestSuite() { broker.reset(); }

  void SetUp() override {
    if (!broker) GTEST_SKIP() << kafka::no_broker;
    prefix = std::string(testing::UnitTest::GetInstance()->current_test_info()->name()) + ".";
    std::ranges::replace(prefix, '/', '-');
  }

  std::unique_ptr<Bus> open() {
    return *make_kafka_bus(loop.loop(), clock, {.brokers = broker->address(), .topic_prefix = prefix, .partitions = 4});
  }

  /// Does to the broker what takes time, while the loop goes on.
  Task<void> meanwhile(std::function<void()> work) {
    auto done = std::async(std::launch::async, std::move(work));
    while (done.wait_for(0s) != std::future_status::ready) co_await sleep_for(clock, 20ms);
  }

  Task<void> publish_until_accepted(Bus& bus, std::string topic, std::vector<Message> messages) {
    auto until = clock.now() + patience;
    while (!HasFailure()) {
      auto done = co_await bus.publish(topic, messages);
      if (done) co_return;
      EXPECT_EQ(done.error().code, Errc::unavailable) << done.error().message;
      if (clock.now() > until) {
        ADD_FAILURE() << "never accepted: " << done.error().message;
      }
      co_await sleep_for(clock, 50ms);
    }
  }

  /// The first poll of a subscription, until it succeeds.
  Task<void> settle(Subscription& member) {
    auto until = clock.now() + patience;
    while (!HasFailure()) {
      auto first = co_await member.poll(1, clock.now());
      if (first) co_return;
      if (clock.now() > until) {
        ADD_FAILURE() << first.error().message;
      }
      co_await sleep_for(clock, 50ms);
    }
  }

  /// Polls until all of `expected` have come.
  Task<std::vector<std::string>> receive(Subscription& from, std::set<std::string> expected) {
    std::vector<std::string> out;
    for (auto until = clock.now() + patience; !expected.empty() && clock.now() < until;) {
      auto some = co_await from.poll(100, clock.now() + 100ms);
      if (!some) {
        EXPECT_EQ(some.error().code, Errc::unavailable) << some.error().message;
        co_await sleep_for(clock, 50ms);
        continue;
      }
      for (auto& m : *some) {
        expected.erase(m.payload);
        out.push_back(m.payload);
      }
      if (!some->empty()) (void)co_await from.commit(some->back().position);
    }
    EXPECT_TRUE(expected.empty()) << expected.size() << " never came, among them " << *expected.begin();
    co_return out;
  }

  static std::unique_ptr<Broker> broker;
  TestLoop loop;
  SystemClock clock{loop.loop()};
  std::string prefix;
};

std::unique_ptr<Broker> KafkaFaults::broker;

TEST_F(KafkaFaults, WhatIsAcknowledgedIsConsumedInOrderThoughTheBrokerIsKilled) {
  constexpr int keys = 8, rounds = 300;
  auto bus = open();
  auto member = bus->subscribe("t", "g");
  std::map<std::string, int> next;  // of each key, the number that was not seen yet
  bool published = false;
  auto publisher = [&]() -> Task<void> {
    for (int round = 0; round < rounds; ++round) {
      std::vector<Message> batch;
      for (int key = 0; key < keys; ++key) batch.push_back({"key " + std::to_string(key), std::to_string(round)});
      co_await publish_until_accepted(*bus, "t", std::move(batch));
      co_await sleep_for(clock, 20ms);
    }
    published = true;
  };
  auto consumer = [&]() -> Task<void> {
    auto complete = [&] { return published && next.size() == std::size_t(keys) && std::ranges::all_of(next, [](auto& key) { return key.second == rounds; }); };
    for (auto until = clock.now() + 3 * patience; clock.now() < until && !complete();) {
      auto some = co_await member->poll(10, clock.now() + 100ms);
      if (!some) co_await sleep_for(clock, 50ms);
      if (!some || some->empty()) continue;
      for (auto& m : *some) {
        auto number = std::stoi(m.payload);
        EXPECT_LE(number, next[m.key]) << m.key << ": a number came before the one published before it";
        next[m.key] = std::max(next[m.key], number + 1);
      }
      (void)co_await member->commit(some->back().position);
    }
    EXPECT_TRUE(complete());
  };
  auto killer = [&]() -> Task<void> {
    for (int kill = 0; kill < 2; ++kill) {
      co_await sleep_for(clock, 1500ms);
      co_await meanwhile([] { broker->kill(); });
      co_await meanwhile([] { broker->start(); });
    }
  };
  auto story = [&]() -> Task<void> {
    co_await settle(*member);
    Scope scope(loop.loop());
    scope.spawn(publisher());
    scope.spawn(consumer());
    scope.spawn(killer());
    co_await scope.join();
  };
  loop.run(story());
  EXPECT_EQ(next.size(), std::size_t(keys));
}

TEST_F(KafkaFaults, ABrokerThatIsAwayIsSaidSoonAndFoundAgain) {
  auto bus = open();
  auto member = bus->subscribe("t", "g");
  auto story = [&]() -> Task<void> {
    co_await settle(*member);
    co_await publish_until_accepted(*bus, "t", {{"k", "before"}});
    co_await receive(*member, {"before"});
    co_await meanwhile([] { broker->kill(); });

    auto since = clock.now();
    auto here = co_await bus->ping();
    EXPECT_FALSE(here);
    EXPECT_LT(clock.now() - since, 4s);

    since = clock.now();
    auto published = co_await bus->publish("t", {{"k", "given up"}});
    EXPECT_FALSE(published);
    EXPECT_EQ(published.error().code, Errc::unavailable);
    EXPECT_LT(clock.now() - since, a_few_seconds);

    since = clock.now();
    auto nothing = co_await member->poll(1, clock.now() + 100ms);
    EXPECT_TRUE(nothing ? nothing->empty() : nothing.error().code == Errc::unavailable);
    EXPECT_LT(clock.now() - since, 2s);

    since = clock.now();
    auto stranger = bus->subscribe("t", "new");
    auto refused = co_await stranger->poll(1, clock.now());
    EXPECT_FALSE(refused) << "a group whose place is unknown must not believe it has one";
    EXPECT_LT(clock.now() - since, a_few_seconds);

    co_await meanwhile([] { broker->start(); });
    co_await publish_until_accepted(*bus, "t", {{"k", "after"}});
    auto got = co_await receive(*member, {"after"});
    EXPECT_EQ(got, std::vector<std::string>{"after"}) << "what was given up does not come later";
    EXPECT_TRUE(co_await bus->ping());
  };
  loop.run(story());
}

TEST_F(KafkaFaults, LeavingWhileTheBrokerIsAwayTakesSecondsAtMost) {
  auto bus = open();
  auto a = bus->subscribe("t", "a"), b = bus->subscribe("t", "b");
  loop.run(settle(*a));
  loop.run(settle(*b));
  broker->kill();
  auto since = clock.now();
  a.reset();
  b.reset();
  EXPECT_LT(clock.now() - since, 100ms) << "destroying a subscription does not hold the loop";
  (void)loop.run(bus->publish("t", {{"k", "v"}}));
  since = clock.now();
  bus.reset();
  EXPECT_LT(clock.now() - since, a_few_seconds);
  broker->start();
}

TEST_F(KafkaFaults, APausedBrokerCostsTimeAndNoOrder) {
  auto bus = open();
  auto member = bus->subscribe("t", "g");
  auto story = [&]() -> Task<void> {
    co_await settle(*member);
    co_await publish_until_accepted(*bus, "t", {{"k", "0"}});
    co_await receive(*member, {"0"});
    broker->pause();
    auto since = clock.now();
    auto published = co_await bus->publish("t", {{"k", "1"}});
    EXPECT_FALSE(published);
    EXPECT_LT(clock.now() - since, a_few_seconds);
    auto nothing = co_await member->poll(1, clock.now() + 100ms);
    EXPECT_TRUE(nothing ? nothing->empty() : nothing.error().code == Errc::unavailable);
    EXPECT_FALSE(co_await bus->ping());
    broker->go_on();
    co_await publish_until_accepted(*bus, "t", {{"k", "2"}});
    co_await publish_until_accepted(*bus, "t", {{"k", "3"}});
    auto got = co_await receive(*member, {"2", "3"});
    EXPECT_TRUE(std::ranges::is_sorted(got)) << "what was in the broker's ear came late, and before what came after it";
  };
  loop.run(story());
}

class EmptiedKafka : public KafkaFaults, public testing::WithParamInterface<bool> {};

TEST_P(EmptiedKafka, IsGoneOnWith) {
  auto bus = open(), other = open();
  auto member = bus->subscribe("t", "g"), of_other = other->subscribe("t", "g"), idle = other->subscribe("idle", "g");
  std::set<std::string> expected;
  auto both = [&](std::set<std::string> all) -> Task<void> {
    std::set<std::string> seen;
    for (auto until = clock.now() + patience; clock.now() < until && !std::ranges::includes(seen, all);)
      for (auto* from : {member.get(), of_other.get()}) {
        auto some = co_await from->poll(100, clock.now() + 20ms);
        if (!some) continue;
        for (auto& m : *some) seen.insert(m.payload);
        if (!some->empty()) (void)co_await from->commit(some->back().position);
      }
    EXPECT_TRUE(std::ranges::includes(seen, all)) << seen.size() << " of " << all.size() << " came";
  };
  auto story = [&]() -> Task<void> {
    co_await settle(*member);
    co_await settle(*of_other);
    co_await settle(*idle);
    for (int i = 0; i < 100; ++i) expected.insert("before " + std::to_string(i));
    for (auto& payload : expected) co_await publish_until_accepted(*bus, "t", {{payload, payload}});
    co_await both(expected);

    co_await meanwhile([] { broker->kill(); });
    broker->forget_everything();
    co_await meanwhile([] { broker->start(); });
    if (GetParam()) {
      co_await meanwhile([] { broker->kill(); });
      broker->become_another_cluster();
      co_await meanwhile([] { broker->start(); });
    }

    expected.clear();
    for (int i = 0; i < 20; ++i) {
      auto payload = "after " + std::to_string(i);
      expected.insert(payload);
      co_await publish_until_accepted(i % 2 ? *bus : *other, "t", {{payload, payload}});
    }
    co_await publish_until_accepted(*bus, "idle", {{"k", "idle"}});
    co_await both(expected);
    co_await receive(*idle, {"idle"});
  };
  loop.run(story());
}

INSTANTIATE_TEST_SUITE_P(Kafka, EmptiedKafka, testing::Bool(), [](auto& info) { return info.param ? "ThatIsAnotherCluster" : "OfTheSameCluster"; });

TEST_F(KafkaFaults, WhatAKilledMemberDidNotCommitGoesToAnother) {
  constexpr int messages = 40;
  auto victim = [&](const Acknowledge& acknowledge) {
    TestLoop own_loop;
    SystemClock own_clock(own_loop.loop());
    auto bus = *make_kafka_bus(own_loop.loop(), own_clock, {.brokers = broker->address(), .topic_prefix = prefix, .partitions = 4});
    auto story = [&]() -> Task<void> {
      auto member = bus->subscribe("t", "g");
      while (!co_await member->poll(1, own_clock.now())) {
      }
      std::vector<Message> batch;
      for (int i = 0; i < messages; ++i) batch.push_back({"key " + std::to_string(i), std::to_string(i)});
      while (!co_await bus->publish("t", batch)) {
      }
      std::vector<Message> got;
      while (got.size() < messages) {
        auto some = co_await member->poll(100, own_clock.now() + 1s);
        if (some) std::ranges::move(*some, std::back_inserter(got));
      }
      if (!co_await member->commit(got[messages / 2 - 1].position)) std::abort();
      for (std::size_t i = messages / 2; i < messages; ++i) acknowledge(got[i].payload);
      co_await sleep_for(own_clock, 1h);
    };
    own_loop.run(story());
  };
  auto undone = kill_during(victim, 200ms);
  ASSERT_EQ(undone.size(), std::size_t(messages / 2));

  auto bus = open();
  auto member = bus->subscribe("t", "g");
  auto got = loop.run(receive(*member, {undone.begin(), undone.end()}));
  std::ranges::sort(got);
  std::ranges::sort(undone);
  EXPECT_EQ(got, undone) << "and what it did commit does not come again";
}

}  // namespace
}  // namespace mayfly
