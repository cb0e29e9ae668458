#include "adapters/kafka/producer.h"

#include "base/log.h"

namespace mayfly::kafka {

using namespace std::chrono_literals;

namespace {

constexpr Duration check_interval = 1s;
/// librdkafka looks once a second for messages whose time is over.
constexpr Duration grace = 3s;

}  // namespace

struct Producer::Batch {
  Messages messages;
  std::size_t unreported = 0;
  std::optional<rd_kafka_resp_err_t> failure;
  Signal done;
};

struct ProducerClient {
  std::map<Producer::Batch*, std::shared_ptr<Producer::Batch>> open;  // librdkafka reads their payloads
  rd_kafka_t* handle = nullptr;
  Queue events;
  std::map<std::string, Topic> topics;

  ~ProducerClient() {
    topics.clear();
    events.reset();
    rd_kafka_purge(handle, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT | RD_KAFKA_PURGE_F_NON_BLOCKING);
    rd_kafka_destroy(handle);
  }
};

/// A batch is not done before all of it was handed over, or will not be.
struct Producer::Handing {
  Producer& producer;
  Batch& batch;

  Handing(Producer& p, Batch& b) : producer(p), batch(b) { ++batch.unreported; }
  ~Handing() { producer.reported(batch, RD_KAFKA_RESP_ERR_NO_ERROR); }
};

rd_kafka_t* handle_of(const ProducerClient& client) { return client.handle; }

Result<std::shared_ptr<Producer>> Producer::open(Loop loop, Offload& blocking, const KafkaOptions& options) {
  TRY_ASSIGN(auto* handle, make_producer(options));
  std::shared_ptr<Producer> out(new Producer(loop, blocking));
  out->client_ = std::make_shared<ProducerClient>();
  out->client_->handle = handle;
  out->client_->events.reset(rd_kafka_queue_get_main(handle));
  auto* self = out.get();
  out->watch_.emplace(loop, out->client_->events.get(), [self] { self->serve(); });
  out->tick_.emplace(loop, check_interval, [self] { self->check_cluster(); });
  return out;
}

Producer::~Producer() {
  if (client_) retire();
}

rd_kafka_t* Producer::handle() const { return client_ ? client_->handle : nullptr; }

Task<rd_kafka_resp_err_t> Producer::send(Clock& clock, std::string topic, Messages messages, Time until) {
  auto self = shared_from_this();
  if (!client_) co_return RD_KAFKA_RESP_ERR__DESTROY;
  auto batch = std::make_shared<Batch>(Batch{std::move(messages), 0, {}, {}});
  client_->open[batch.get()] = batch;
  {
    Handing handing(*this, *batch);
    auto& to = client_->topics[topic];
    if (!to) to.reset(rd_kafka_topic_new(client_->handle, topic.c_str(), nullptr));
    for (auto& message : *batch->messages) {
      while (!batch->failure && !hand_over(to.get(), message, *batch))
        if (!co_await room_.wait(clock, until)) batch->failure = RD_KAFKA_RESP_ERR__QUEUE_FULL;
      if (batch->failure) break;
    }
  }
  while (batch->unreported > 0)
    if (!co_await batch->done.wait(clock, until + grace)) {
      log_warn("messages for Kafka were neither acknowledged nor given up", {{"topic", topic}});
      spoiled_ = true;
      co_return RD_KAFKA_RESP_ERR__TIMED_OUT;
    }
  co_return batch->failure.value_or(RD_KAFKA_RESP_ERR_NO_ERROR);
}

/// False when librdkafka has no room just now.
bool Producer::hand_over(rd_kafka_topic_t* topic, const Message& message, Batch& batch) {
  constexpr int payload_stays_ours = 0;
  ++batch.unreported;
  auto* payload = const_cast<char*>(message.payload.data());  // it is only read
  if (rd_kafka_produce(topic, RD_KAFKA_PARTITION_UA, payload_stays_ours, payload, message.payload.size(), message.key.data(),
                       message.key.size(), &batch) == 0)
    return true;
  --batch.unreported;
  auto code = rd_kafka_last_error();
  if (code == RD_KAFKA_RESP_ERR__QUEUE_FULL) return false;
  batch.failure = code;
  failed(code);
  return true;
}

void Producer::reported(Batch& batch, rd_kafka_resp_err_t code) {
  if (code != RD_KAFKA_RESP_ERR_NO_ERROR && !batch.failure) batch.failure = code;
  if (batch.unreported == 0 || --batch.unreported > 0) return;
  batch.done.notify();
  if (client_) client_->open.erase(&batch);
}

void Producer::serve() {
  while (client_) {
    Event event(rd_kafka_queue_poll(client_->events.get(), 0));
    if (!event) break;
    if (rd_kafka_event_type(event.get()) == RD_KAFKA_EVENT_DR) {
      while (auto* message = rd_kafka_event_message_next(event.get())) {
        if (message->err)
          failed(message->err);
        else if (std::exchange(away_, false))
          log_info("Kafka is reached again");
        reported(*static_cast<Batch*>(message->_private), message->err);
      }
      room_.notify();
    } else if (rd_kafka_event_type(event.get()) == RD_KAFKA_EVENT_ERROR) {
      failed(rd_kafka_event_error(event.get()));
    }
  }
}

void Producer::failed(rd_kafka_resp_err_t code) {
  if (code == RD_KAFKA_RESP_ERR__FATAL || rd_kafka_fatal_error(client_->handle, nullptr, 0)) spoiled_ = true;
  bool away = code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN || code == RD_KAFKA_RESP_ERR__AUTHENTICATION;
  if (away && !std::exchange(away_, true)) log_warn("Kafka cannot be reached", {{"error", rd_kafka_err2str(code)}});
}

void Producer::check_cluster() {
  auto id = cluster_id(client_->handle);
  if (id.empty()) return;
  auto before = std::exchange(cluster_, id);
  if (before.empty() || before == id) return;
  log_warn("Kafka is another cluster than it was", {{"before", before}, {"now", id}});
  spoiled_ = true;
  rd_kafka_purge(client_->handle, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT | RD_KAFKA_PURGE_F_NON_BLOCKING);
}

void Producer::retire() {
  spoiled_ = true;
  watch_.reset();
  tick_.reset();
  auto client = std::exchange(client_, nullptr);
  for (auto& [batch, _] : client->open) {
    if (!batch->failure) batch->failure = RD_KAFKA_RESP_ERR__PURGE_QUEUE;
    batch->unreported = 0;
    batch->done.notify();
  }
  room_.notify();
  blocking_.post([client = std::move(client)]() mutable { client.reset(); });
}

}  // namespace mayfly::kafka
