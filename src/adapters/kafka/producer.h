#pragma once
// One idempotent producer, and what waits for its acknowledgements.

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "adapters/kafka/client.h"
#include "adapters/kafka/watch.h"

namespace mayfly::kafka {

using Messages = std::shared_ptr<const std::vector<Message>>;

/// What librdkafka's threads use, and what must not go before them. Destroying it blocks: not on the loop.
struct ProducerClient;

class Producer final : public std::enable_shared_from_this<Producer> {
 public:
  static Result<std::shared_ptr<Producer>> open(Loop loop, Offload& blocking, const KafkaOptions& options);
  ~Producer();

  /// Comes back when each message is acknowledged or will not be sent any more, after the delivery timeout at most: the first
  /// failure, if there is one. Cancelling it does not recall what is on its way.
  Task<rd_kafka_resp_err_t> send(Clock& clock, std::string topic, Messages messages, Time until);

  /// True when another producer must take over: librdkafka gave this one up, or it finds itself at another cluster, where
  /// others may have its id.
  bool spoiled() const { return spoiled_; }
  void spoil() { spoiled_ = true; }

  /// For calls elsewhere, which may keep it. Null when retired.
  rd_kafka_t* handle() const;
  std::shared_ptr<ProducerClient> client() const { return client_; }

  /// Fails what is on its way and lets the client go elsewhere. Call once, last.
  void retire();

 private:
  struct Batch;
  struct Handing;
  friend struct ProducerClient;

  Producer(Loop loop, Offload& blocking) : loop_(std::move(loop)), blocking_(blocking) {}
  bool hand_over(rd_kafka_topic_t* topic, const Message& message, Batch& batch);
  void reported(Batch& batch, rd_kafka_resp_err_t code);
  void serve();
  void failed(rd_kafka_resp_err_t code);
  void check_cluster();

  Loop loop_;
  Offload& blocking_;
  std::shared_ptr<ProducerClient> client_;
  std::optional<QueueWatch> watch_;
  std::optional<Every> tick_;
  Signal room_;
  std::string cluster_;
  bool spoiled_ = false;
  bool away_ = false;
};

rd_kafka_t* handle_of(const ProducerClient& client);

}  // namespace mayfly::kafka
