#include "adapters/kafka/client.h"

#include <algorithm>
#include <array>

#include "base/log.h"

namespace mayfly::kafka {
namespace {

using namespace std::chrono_literals;

/// What the largest message weighs in a batch of its own, with room for what Kafka writes around it.
constexpr std::size_t max_batch_bytes = max_message_bytes + 48'576;
constexpr std::size_t max_producer_queue_kbytes = 64 << 10;
constexpr std::size_t max_consumer_queue_kbytes = 16 << 10;

using Property = std::pair<std::string_view, std::string>;
using Conf = Owned<rd_kafka_conf_t, rd_kafka_conf_destroy>;
using TopicSpec = Owned<rd_kafka_NewTopic_t, rd_kafka_NewTopic_destroy>;
using AdminOptions = Owned<rd_kafka_AdminOptions_t, rd_kafka_AdminOptions_destroy>;

/// librdkafka repeats itself as long as a broker is away; what matters comes as an event too.
void on_log(const rd_kafka_t*, int level, const char*, const char* text) {
  constexpr int critical = 2;
  log(level <= critical ? Level::error : Level::debug, "librdkafka", {{"text", text}});
}

std::vector<Property> for_all(const KafkaOptions& options) {
  return {{"bootstrap.servers", options.brokers},
          {"client.id", "mayfly"},
          {"allow.auto.create.topics", "false"},
          {"socket.keepalive.enable", "true"},
          {"socket.nagle.disable", "true"},
          {"socket.timeout.ms", "6000"},
          {"socket.connection.setup.timeout.ms", "3000"},
          {"reconnect.backoff.ms", "50"},
          {"reconnect.backoff.max.ms", "1000"},
          {"retry.backoff.ms", "50"},
          {"topic.metadata.refresh.interval.ms", "10000"},
          {"topic.metadata.propagation.max.ms", "1000"}};
}

std::vector<Property> for_producers(const KafkaOptions& options) {
  return {{"enable.idempotence", "true"},
          {"acks", "all"},
          {"delivery.timeout.ms", std::to_string(to_ms(options.delivery_timeout))},
          {"linger.ms", "0"},
          {"partitioner", "murmur2"},  // as Java's clients do, an empty key included
          {"message.max.bytes", std::to_string(max_batch_bytes)},
          {"queue.buffering.max.kbytes", std::to_string(max_producer_queue_kbytes)}};
}

std::vector<Property> for_consumers(const std::string& group) {
  return {{"group.id", group},
          {"enable.auto.commit", "false"},
          {"enable.auto.offset.store", "false"},
          {"auto.offset.reset", "earliest"},  // what was fallen behind of is lost, the rest is not
          {"partition.assignment.strategy", "roundrobin"},
          {"session.timeout.ms", "6000"},  // the least that brokers take
          {"heartbeat.interval.ms", "500"},
          {"max.poll.interval.ms", "60000"},
          {"coordinator.query.interval.ms", "1000"},
          {"fetch.wait.max.ms", "100"},
          {"fetch.error.backoff.ms", "100"},
          {"fetch.message.max.bytes", std::to_string(max_batch_bytes)},
          {"fetch.max.bytes", std::to_string(max_consumer_queue_kbytes << 10)},
          {"queued.max.messages.kbytes", std::to_string(max_consumer_queue_kbytes)}};
}

Result<void> set(rd_kafka_conf_t* conf, std::string_view name, const std::string& value) {
  std::array<char, 512> why{};
  if (rd_kafka_conf_set(conf, std::string(name).c_str(), value.c_str(), why.data(), why.size()) == RD_KAFKA_CONF_OK) return {};
  return fail(Errc::invalid, "the Kafka property " + std::string(name) + " cannot be set: " + why.data());
}

Result<rd_kafka_t*> make_client(rd_kafka_type_t type, const KafkaOptions& options, const std::vector<Property>& own) {
  Conf conf(rd_kafka_conf_new());
  rd_kafka_conf_set_log_cb(conf.get(), on_log);
  rd_kafka_conf_set_events(conf.get(), RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR | RD_KAFKA_EVENT_REBALANCE |
                                           RD_KAFKA_EVENT_OFFSET_COMMIT | RD_KAFKA_EVENT_FETCH);
  auto ours = for_all(options);
  ours.insert(ours.end(), own.begin(), own.end());
  for (auto& [name, value] : ours) TRY(set(conf.get(), name, value));
  for (auto& [name, value] : options.properties) TRY(set(conf.get(), name, value));
  std::array<char, 512> why{};
  auto* client = rd_kafka_new(type, conf.get(), why.data(), why.size());
  if (!client) return fail(Errc::invalid, std::string("no Kafka client can be made: ") + why.data());
  (void)conf.release();  // the client's now
  return client;
}

/// An alias or a property that would change what the bus promises.
Result<void> check_not_ours(const KafkaOptions& options) {
  auto ours = for_all(options);
  std::ranges::move(for_producers(options), std::back_inserter(ours));
  std::ranges::move(for_consumers(""), std::back_inserter(ours));
  for (auto alias : {"metadata.broker.list", "request.required.acks", "message.timeout.ms", "queue.buffering.max.ms", "max.partition.fetch.bytes", "group.instance.id", "transactional.id"})
    ours.emplace_back(alias, "");
  for (auto& [name, _] : options.properties)
    if (std::ranges::find(ours, name, &Property::first) != ours.end())
      return fail(Errc::invalid, "the Kafka property " + name + " is the bus' own", "leave it out");
  return {};
}

}  // namespace

Error broker_error(std::string_view doing, rd_kafka_resp_err_t code) {
  auto kind = Errc::unavailable;
  if (code == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE) kind = Errc::too_large;
  if (code == RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION) kind = Errc::invalid;
  return {kind, std::string(doing) + ": " + rd_kafka_err2str(code), ""};
}

bool is_unknown_topic(rd_kafka_resp_err_t code) {
  return code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART || code == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC ||
         code == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION;
}

Result<rd_kafka_t*> make_producer(const KafkaOptions& options) {
  TRY(check_not_ours(options));
  return make_client(RD_KAFKA_PRODUCER, options, for_producers(options));
}

Result<rd_kafka_t*> make_consumer(const KafkaOptions& options, const std::string& group) {
  TRY_ASSIGN(auto* client, make_client(RD_KAFKA_CONSUMER, options, for_consumers(group)));
  rd_kafka_poll_set_consumer(client);
  return client;
}

std::string cluster_id(rd_kafka_t* client) {
  constexpr int only_what_is_known = 0;
  auto* id = rd_kafka_clusterid(client, only_what_is_known);
  std::string out = id ? id : "";
  rd_kafka_mem_free(client, id);
  return out;
}

Result<void> create_topic(rd_kafka_t* client, const std::string& name, const KafkaOptions& options, Duration timeout) {
  std::array<char, 512> why{};
  TopicSpec spec(rd_kafka_NewTopic_new(name.c_str(), options.partitions, options.replication, why.data(), why.size()));
  if (!spec) return fail(Errc::invalid, "the topic " + name + " cannot be made: " + why.data());
  rd_kafka_NewTopic_set_config(spec.get(), "retention.ms", std::to_string(std::chrono::floor<std::chrono::milliseconds>(options.retention).count()).c_str());
  rd_kafka_NewTopic_set_config(spec.get(), "max.message.bytes", std::to_string(max_batch_bytes).c_str());
  if (options.replication >= 3) rd_kafka_NewTopic_set_config(spec.get(), "min.insync.replicas", "2");

  AdminOptions admin(rd_kafka_AdminOptions_new(client, RD_KAFKA_ADMIN_OP_CREATETOPICS));
  rd_kafka_AdminOptions_set_request_timeout(admin.get(), to_ms(timeout), why.data(), why.size());
  rd_kafka_AdminOptions_set_operation_timeout(admin.get(), to_ms(timeout), why.data(), why.size());
  Queue answers(rd_kafka_queue_new(client));
  auto* specs = spec.get();
  rd_kafka_CreateTopics(client, &specs, 1, admin.get(), answers.get());
  Event event(rd_kafka_queue_poll(answers.get(), to_ms(timeout + 1s)));
  auto doing = "making the topic " + name;
  if (!event) return std::unexpected(broker_error(doing, RD_KAFKA_RESP_ERR__TIMED_OUT));
  auto code = rd_kafka_event_error(event.get());
  if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
    std::size_t count = 0;
    auto** results = rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event.get()), &count);
    if (count > 0) code = rd_kafka_topic_result_error(results[0]);
  }
  if (code == RD_KAFKA_RESP_ERR_NO_ERROR || code == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS) return {};
  // Whoever runs the cluster may make the topics: using them will tell whether they are there.
  if (code == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED || code == RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED) return {};
  return std::unexpected(broker_error(doing, code));
}

Result<void> reach(rd_kafka_t* client, Duration timeout) {
  constexpr int only_known_topics = 0;
  const rd_kafka_metadata_t* metadata = nullptr;
  auto code = rd_kafka_metadata(client, only_known_topics, nullptr, &metadata, to_ms(timeout));
  if (metadata) rd_kafka_metadata_destroy(metadata);
  if (code != RD_KAFKA_RESP_ERR_NO_ERROR) return std::unexpected(broker_error("reaching Kafka", code));
  return {};
}

}  // namespace mayfly::kafka
