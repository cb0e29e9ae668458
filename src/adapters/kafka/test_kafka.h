#pragma once
// What tests need of a real broker: where it is, and names of their own that leave nothing behind.

#include <unistd.h>

#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "adapters/kafka/client.h"

namespace mayfly::kafka {

inline std::string broker_of_tests() {
  auto* broker = std::getenv("MAYFLY_TEST_KAFKA");
  return broker ? broker : "";
}

inline constexpr auto no_broker = "no Kafka to test against: scripts/servers up kafka, and set MAYFLY_TEST_KAFKA from its env file";

/// A topic as an operator makes it.
inline void make_topic(const std::string& brokers, const std::string& name, int partitions, const std::vector<std::pair<std::string, std::string>>& config) {
  auto* handle = *make_producer({.brokers = brokers});
  auto* spec = rd_kafka_NewTopic_new(name.c_str(), partitions, -1, nullptr, 0);
  for (auto& [key, value] : config) rd_kafka_NewTopic_set_config(spec, key.c_str(), value.c_str());
  Queue answers(rd_kafka_queue_new(handle));
  rd_kafka_CreateTopics(handle, &spec, 1, nullptr, answers.get());
  Event(rd_kafka_queue_poll(answers.get(), 10'000));
  rd_kafka_NewTopic_destroy(spec);
  answers.reset();
  rd_kafka_destroy(handle);
}

/// Makes a topic's partitions so many.
inline void add_partitions(const std::string& brokers, const std::string& name, std::size_t partitions) {
  auto* handle = *make_producer({.brokers = brokers});
  auto* more = rd_kafka_NewPartitions_new(name.c_str(), partitions, nullptr, 0);
  Queue answers(rd_kafka_queue_new(handle));
  rd_kafka_CreatePartitions(handle, &more, 1, nullptr, answers.get());
  Event(rd_kafka_queue_poll(answers.get(), 10'000));
  rd_kafka_NewPartitions_destroy(more);
  answers.reset();
  rd_kafka_destroy(handle);
}

/// Removes what a topic holds before `offset`, in each of its partitions that reach that far, as retention does.
inline void forget_before(const std::string& brokers, const std::string& name, std::int64_t offset) {
  auto* handle = *make_producer({.brokers = brokers});
  constexpr int partitions = 12;
  Queue answers(rd_kafka_queue_new(handle));
  for (int i = 0; i < partitions; ++i) {
    Partitions list(rd_kafka_topic_partition_list_new(1));
    rd_kafka_topic_partition_list_add(list.get(), name.c_str(), i)->offset = offset;
    auto* records = rd_kafka_DeleteRecords_new(list.get());
    rd_kafka_DeleteRecords(handle, &records, 1, nullptr, answers.get());
    Event(rd_kafka_queue_poll(answers.get(), 10'000));
    rd_kafka_DeleteRecords_destroy(records);
  }
  answers.reset();
  rd_kafka_destroy(handle);
}

/// Deletes all topics and groups whose names begin so.
inline void remove_all(const std::string& brokers, const std::string& prefix) {
  constexpr int patience_ms = 5000, all_topics = 1;
  auto client = make_producer({.brokers = brokers});
  if (!client) return;
  auto* handle = *client;
  Queue answers(rd_kafka_queue_new(handle));
  auto answered = [&](std::size_t asked) {
    if (asked > 0) Event(rd_kafka_queue_poll(answers.get(), patience_ms));
  };

  std::vector<rd_kafka_DeleteTopic_t*> topics;
  const rd_kafka_metadata_t* metadata = nullptr;
  if (rd_kafka_metadata(handle, all_topics, nullptr, &metadata, patience_ms) == RD_KAFKA_RESP_ERR_NO_ERROR) {
    for (auto& topic : std::span(metadata->topics, std::size_t(metadata->topic_cnt)))
      if (std::string_view(topic.topic).starts_with(prefix)) topics.push_back(rd_kafka_DeleteTopic_new(topic.topic));
    rd_kafka_metadata_destroy(metadata);
  }
  if (!topics.empty()) rd_kafka_DeleteTopics(handle, topics.data(), topics.size(), nullptr, answers.get());
  answered(topics.size());

  std::vector<rd_kafka_DeleteGroup_t*> groups;
  const rd_kafka_group_list* found = nullptr;
  if (rd_kafka_list_groups(handle, nullptr, &found, patience_ms) == RD_KAFKA_RESP_ERR_NO_ERROR) {
    for (auto& group : std::span(found->groups, std::size_t(found->group_cnt)))
      if (std::string_view(group.group).starts_with(prefix)) groups.push_back(rd_kafka_DeleteGroup_new(group.group));
    rd_kafka_group_list_destroy(found);
  }
  if (!groups.empty()) rd_kafka_DeleteGroups(handle, groups.data(), groups.size(), nullptr, answers.get());
  answered(groups.size());

  rd_kafka_DeleteTopic_destroy_array(topics.data(), topics.size());
  rd_kafka_DeleteGroup_destroy_array(groups.data(), groups.size());
  answers.reset();
  rd_kafka_destroy(handle);
}

/// A prefix that no other test has; its topics and groups are removed at the end.
class TestPrefix final {
 public:
  explicit TestPrefix(std::string brokers = broker_of_tests()) : brokers_(std::move(brokers)) {}
  ~TestPrefix() {
    if (!brokers_.empty()) remove_all(brokers_, name_);
  }
  TestPrefix(const TestPrefix&) = delete;

  const std::string& name() const { return name_; }

 private:
  std::string brokers_;
  std::string name_ = "test-" + std::to_string(std::random_device{}()) + "-" + std::to_string(getpid()) + ".";
};

}  // namespace mayfly::kafka
