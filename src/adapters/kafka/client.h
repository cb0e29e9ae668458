#pragma once
// librdkafka's objects with owners, its errors as ours, and how every client of the bus is set up.

#include <librdkafka/rdkafka.h>

#include <memory>
#include <string>
#include <string_view>

#include "adapters/kafka/bus.h"

namespace mayfly::kafka {

template <auto destroy>
struct Destroy {
  template <class T>
  void operator()(T* it) const {
    destroy(it);
  }
};
template <class T, auto destroy>
using Owned = std::unique_ptr<T, Destroy<destroy>>;

using Queue = Owned<rd_kafka_queue_t, rd_kafka_queue_destroy>;
using Event = Owned<rd_kafka_event_t, rd_kafka_event_destroy>;
using Topic = Owned<rd_kafka_topic_t, rd_kafka_topic_destroy>;
using Partitions = Owned<rd_kafka_topic_partition_list_t, rd_kafka_topic_partition_list_destroy>;

/// `doing` names what failed: "publishing to mayfly.jobs".
Error broker_error(std::string_view doing, rd_kafka_resp_err_t code);

/// Whether the broker says that it has no such topic: it was emptied, or somebody removed the topic.
bool is_unknown_topic(rd_kafka_resp_err_t code);

/// An idempotent producer that waits for all replicas in sync. Its events are those of rd_kafka_queue_get_main.
Result<rd_kafka_t*> make_producer(const KafkaOptions& options);

/// A member-to-be of `group`. Nothing is committed but what we commit.
Result<rd_kafka_t*> make_consumer(const KafkaOptions& options, const std::string& group);

/// The cluster's id, as far as it is known; empty otherwise. Does not wait.
std::string cluster_id(rd_kafka_t* client);

/// Makes the topic unless it is there. Blocks up to `timeout`.
Result<void> create_topic(rd_kafka_t* client, const std::string& name, const KafkaOptions& options, Duration timeout);

/// Asks a broker for its metadata. Blocks up to `timeout`.
Result<void> reach(rd_kafka_t* client, Duration timeout);

inline int to_ms(Duration d) { return int(std::chrono::duration_cast<std::chrono::milliseconds>(d).count()); }

}  // namespace mayfly::kafka
