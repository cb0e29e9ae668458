#pragma once
// The Bus port over Kafka: for servers whose roles live in several processes. A Kafka that is away or was emptied costs
// time: publishing says so and can be tried again, subscriptions go on by themselves at what is there.

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "async/task.h"
#include "base/result.h"
#include "ports/bus.h"
#include "ports/clock.h"

namespace mayfly {

struct KafkaOptions {
  std::string brokers;       // "host:port,host:port": where to begin
  std::string topic_prefix = "";  // of topics and groups, so that several installations can share a cluster
  int partitions = 12;       // of a topic that is made; one that is there keeps its own
  int replication = -1;      // of a topic that is made; -1: as the cluster is set up. From 3 on, two must have a message
  Duration retention = std::chrono::hours(24);        // how long a topic that is made keeps messages
  Duration delivery_timeout = std::chrono::seconds(4);  // how long one publish tries
  /// More librdkafka properties, such as security.protocol, sasl.*, ssl.*. One that the bus relies on is refused.
  std::vector<std::pair<std::string, std::string>> properties = {};
};

/// Does not wait for Kafka. Errc::invalid when librdkafka refuses a property. `loop` and `clock` outlive the bus, the bus its
/// subscriptions. Destroying the bus waits for members that leave their groups and for what librdkafka still does: moments, or
/// a few seconds when Kafka is away. A topic is made when it is first used, a group is one topic's. The first poll of a
/// subscription may take longer than asked: it returns when its group has its place in the topic, or Errc::unavailable.
Result<std::unique_ptr<Bus>> make_kafka_bus(Loop loop, Clock& clock, KafkaOptions options);

}  // namespace mayfly
