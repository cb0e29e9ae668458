#include "adapters/kafka/bus.h"

#include <gtest/gtest.h>

#include "adapters/kafka/test_kafka.h"
#include "adapters/system/system_clock.h"
#include "async/scope.h"
#include "support/run.h"

namespace mayfly {
namespace {

using namespace std::chrono_literals;

class KafkaBus : public testing::Test {
 protected:
  Result<std::unique_ptr<Bus>> open(KafkaOptions options) { return make_kafka_bus(loop.loop(), clock, std::move(options)); }
  std::unique_ptr<Bus> open_at_broker() { return *open({.brokers = kafka::broker_of_tests(), .topic_prefix = prefix.name()}); }

  kafka::TestPrefix prefix;
  TestLoop loop;
  SystemClock clock{loop.loop()};
};

TEST_F(KafkaBus, APropertyThatTheBusReliesOnIsRefused) {
  for (auto* name : {"enable.idempotence", "acks", "request.required.acks", "group.id", "enable.auto.commit", "auto.offset.reset", "partitioner", "message.timeout.ms", "transactional.id"}) {
    auto refused = open({.brokers = "127.0.0.1:1", .properties = {{name, "1"}}});
    ASSERT_FALSE(refused) << name;
    EXPECT_EQ(refused.error().code, Errc::invalid);
    EXPECT_NE(refused.error().message.find(name), std::string::npos);
  }
}

TEST_F(KafkaBus, APropertyThatLibrdkafkaDoesNotKnowIsRefusedAndItsValueNotTold) {
  auto refused = open({.brokers = "127.0.0.1:1", .properties = {{"sasl.passwort", "hunter2"}}});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::invalid);
  EXPECT_NE(refused.error().message.find("sasl.passwort"), std::string::npos);
  EXPECT_EQ(refused.error().message.find("hunter2"), std::string::npos);
}

TEST_F(KafkaBus, TlsAndPasswordsAreTaken) {
  auto made = open({.brokers = "127.0.0.1:1", .properties = {{"security.protocol", "SASL_SSL"}, {"sasl.mechanism", "SCRAM-SHA-512"}, {"sasl.username", "mayfly"}, {"sasl.password", "hunter2"}}});
  EXPECT_TRUE(made) << made.error().message;
}

TEST_F(KafkaBus, WhereNothingListensPublishingSaysSoInTime) {
  auto bus = *open({.brokers = "127.0.0.1:1", .delivery_timeout = 1s});
  auto since = clock.now();
  auto published = loop.run(bus->publish("t", {{"k", "v"}}));
  ASSERT_FALSE(published);
  EXPECT_EQ(published.error().code, Errc::unavailable);
  EXPECT_LT(clock.now() - since, 5s);
}

TEST_F(KafkaBus, ATopicOfTheOperatorsIsUsedAsItIs) {
  if (kafka::broker_of_tests().empty()) GTEST_SKIP() << kafka::no_broker;
  constexpr std::size_t small = 2'000;
  kafka::make_topic(kafka::broker_of_tests(), prefix.name() + "t", 1, {{"max.message.bytes", std::to_string(small)}});
  auto bus = open_at_broker();
  EXPECT_TRUE(loop.run(bus->publish("t", {{"k", std::string(small / 2, 'x')}})));
  auto refused = loop.run(bus->publish("t", {{"k", std::string(2 * small, 'x')}}));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::too_large) << refused.error().message;
  EXPECT_TRUE(loop.run(bus->publish("t", {{"k", "still there"}})));
}

TEST_F(KafkaBus, ManyPublishersOfATopicThatNobodyMadeMeetNoError) {
  if (kafka::broker_of_tests().empty()) GTEST_SKIP() << kafka::no_broker;
  std::vector<std::unique_ptr<Bus>> buses;
  for (int i = 0; i < 4; ++i) buses.push_back(open_at_broker());
  auto publisher = [&](Bus& bus) -> Task<void> {
    auto done = co_await bus.publish("t", {{"k", "v"}});
    EXPECT_TRUE(done) << done.error().message;
  };
  auto story = [&]() -> Task<void> {
    Scope scope(loop.loop());
    for (auto& bus : buses)
      for (int i = 0; i < 5; ++i) scope.spawn(publisher(*bus));
    co_await scope.join();
  };
  loop.run(story());
}

TEST_F(KafkaBus, WhatFallsOutOfRetentionIsPassedOver) {
  if (kafka::broker_of_tests().empty()) GTEST_SKIP() << kafka::no_broker;
  auto bus = open_at_broker();
  {
    auto member = bus->subscribe("t", "g");
    ASSERT_TRUE(loop.run(member->poll(1, clock.now())));
  }
  for (auto* payload : {"gone 1", "gone 2", "kept"}) ASSERT_TRUE(loop.run(bus->publish("t", {{"k", payload}})));
  kafka::forget_before(kafka::broker_of_tests(), prefix.name() + "t", 2);
  auto member = bus->subscribe("t", "g");
  auto got = loop.run(member->poll(10, clock.now() + 20s));
  ASSERT_TRUE(got);
  ASSERT_EQ(got->size(), 1u);
  EXPECT_EQ(got->front().payload, "kept");
}

}  // namespace
}  // namespace mayfly
