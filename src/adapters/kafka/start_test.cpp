#include "adapters/kafka/start.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "adapters/kafka/test_kafka.h"
#include "adapters/system/system_clock.h"
#include "support/run.h"

namespace mayfly::kafka {
namespace {

using testing::ElementsAre;

class Start : public testing::Test {
 protected:
  void SetUp() override {
    if (broker_of_tests().empty()) GTEST_SKIP() << no_broker;
    make_topic(broker_of_tests(), topic, 1, {});
    member = *make_consumer({.brokers = broker_of_tests()}, topic + "/g");
    other = *make_consumer({.brokers = broker_of_tests()}, topic + "/g");
  }
  void TearDown() override {
    for (auto* client : {member, other})
      if (client) rd_kafka_destroy(client);
  }
  void publish(int messages) {
    TestLoop loop;
    SystemClock clock(loop.loop());
    auto bus = *make_kafka_bus(loop.loop(), clock, {.brokers = broker_of_tests(), .topic_prefix = prefix.name()});
    for (int i = 0; i < messages; ++i) ASSERT_TRUE(loop.run(bus->publish("t", {{"k", "v"}})));
  }
  /// What settle() says, tried again while the topic is new to the broker.
  std::optional<Offsets> settled(rd_kafka_t* by, Place place) {
    for (int i = 0; i < 100; ++i)
      if (auto at = settle(by, topic, place)) return *at;
    ADD_FAILURE() << "never settled";
    return {};
  }

  TestPrefix prefix;
  std::string topic = prefix.name() + "t";
  rd_kafka_t* member = nullptr;
  rd_kafka_t* other = nullptr;
};

TEST_F(Start, OfANewGroupIsDecidedByOneMemberOnceForAll) {
  publish(3);
  auto look = look_around(member, topic);
  ASSERT_TRUE(look) << look.error().message;
  EXPECT_FALSE(look->started);
  EXPECT_THAT(look->ends, ElementsAre(3));
  publish(2);
  EXPECT_EQ(settled(other, {.may_settle = false, .placed = false, .ends = {5}}), std::nullopt) << "it is not on this one to decide";
  EXPECT_THAT(*settled(member, {.may_settle = true, .placed = false, .ends = look->ends}), ElementsAre(3)) << "where it looked, not where the topic ends by now";
  EXPECT_THAT(*settled(other, {.may_settle = true, .placed = false, .ends = {5}}), ElementsAre(3)) << "and it stays";
  EXPECT_TRUE(look_around(other, topic)->started);
}

TEST_F(Start, OfAGroupThatHadItsPlaceAndLostItIsTheBeginning) {
  publish(3);
  EXPECT_THAT(*settled(member, {.may_settle = true, .placed = true, .ends = {3}}), ElementsAre(0));
}

TEST_F(Start, InAPartitionThatCameLaterIsItsBeginning) {
  publish(3);
  EXPECT_THAT(*settled(member, {.may_settle = true, .placed = false, .ends = {3}}), ElementsAre(3));
  add_partitions(broker_of_tests(), topic, 3);
  for (int i = 0; i < 100; ++i)
    if (auto at = settled(member, {.may_settle = true, .placed = false, .ends = {3}}); at && at->size() == 3) {
      EXPECT_THAT(*at, ElementsAre(3, 0, 0));
      return;
    }
  FAIL() << "the new partitions were not seen";
}

TEST_F(Start, OfATopicThatIsNotThereIsNotFound) {
  EXPECT_EQ(look_around(member, topic + "-not").error().code, Errc::not_found);
}

}  // namespace
}  // namespace mayfly::kafka
