#include "adapters/kafka/bus.h"

#include <algorithm>
#include <map>

#include "adapters/kafka/client.h"
#include "adapters/kafka/member.h"
#include "adapters/kafka/producer.h"
#include "adapters/kafka/watch.h"

namespace mayfly {

namespace {

using namespace kafka;
using namespace std::chrono_literals;

/// For what blocks: leaving groups, looking where a group stands, making topics.
constexpr unsigned blocking_threads = 8;
constexpr Duration topic_timeout = 3s;
constexpr Duration reach_timeout = 2s;
constexpr Duration commit_timeout = 5s;
constexpr Duration first_poll_timeout = 10s;
constexpr Duration trouble_timeout = 5s;  // a first poll's, once it is known what is wrong: most of it passes
constexpr Duration pause = 50ms;

class KafkaBus final : public Bus {
 public:
  KafkaBus(Loop loop, Clock& clock, KafkaOptions options)
      : loop_(std::move(loop)), clock_(clock), options_(std::make_shared<const KafkaOptions>(std::move(options))) {}
  ~KafkaBus() override {
    if (producer_) producer_->retire();
  }

  Result<void> open() {
    TRY_ASSIGN(producer_, Producer::open(loop_, *blocking_, *options_));
    return {};
  }

  Task<Result<void>> publish(std::string_view topic, std::vector<Message> messages) override;
  std::unique_ptr<Subscription> subscribe(std::string_view topic, std::string_view group) override;
  Task<Result<void>> ping() override;

  /// Makes the topic unless that was done.
  Task<Result<void>> ready(std::string topic, Time until);
  void doubt(const std::string& topic) { topics_[topic].ready = false; }
  Result<std::shared_ptr<Member>> join(Membership membership) {
    return Member::join(loop_, *blocking_, *options_, std::move(membership));
  }
  Clock& clock() { return clock_; }

 private:
  struct KnownTopic {
    bool ready = false;
    std::shared_ptr<SharedCall> making;
  };

  Result<std::shared_ptr<Producer>> producer();

  Loop loop_;
  Clock& clock_;
  std::shared_ptr<const KafkaOptions> options_;
  std::unique_ptr<Offload> blocking_ = make_thread_offload(blocking_threads);
  std::shared_ptr<Producer> producer_;
  std::shared_ptr<SharedCall> reaching_ = std::make_shared<SharedCall>(loop_, *blocking_);
  std::map<std::string, KnownTopic> topics_;
};

class KafkaSubscription final : public Subscription {
 public:
  KafkaSubscription(KafkaBus& bus, std::string topic, std::string group) : bus_(bus), topic_(std::move(topic)), group_(std::move(group)) {}
  ~KafkaSubscription() override {
    if (member_) member_->leave();
  }

  Task<Result<std::vector<Message>>> poll(std::size_t max, Time until) override;
  Task<Result<void>> commit(std::int64_t position) override;

 private:
  Task<Result<void>> join(Time until);

  KafkaBus& bus_;
  std::string topic_, group_;
  std::shared_ptr<Member> member_;
};

// --- publishing

Result<std::shared_ptr<Producer>> KafkaBus::producer() {
  if (!producer_->spoiled()) return producer_;
  TRY_ASSIGN(auto next, Producer::open(loop_, *blocking_, *options_));
  producer_->retire();
  producer_ = std::move(next);
  for (auto& [_, topic] : topics_) topic.ready = false;
  return producer_;
}

Task<Result<void>> KafkaBus::ready(std::string name, Time until) {
  auto& topic = topics_[name];
  if (topic.ready) co_return Result<void>{};
  CO_TRY_ASSIGN(auto at, producer());
  if (!topic.making) topic.making = std::make_shared<SharedCall>(loop_, *blocking_);
  CO_TRY(co_await topic.making->answer(clock_, until, [client = at->client(), name, options = options_] {
    return create_topic(handle_of(*client), name, *options, topic_timeout);
  }));
  topic.ready = true;
  co_return Result<void>{};
}

Task<Result<void>> KafkaBus::publish(std::string_view topic, std::vector<Message> messages) {
  for (auto& m : messages)
    if (auto size = m.key.size() + m.payload.size(); size > max_message_bytes)
      co_return fail(Errc::too_large, "a message of " + std::to_string(size) + " bytes for " + std::string(topic) + "; " +
                                          std::to_string(max_message_bytes) + " are the limit");
  auto name = options_->topic_prefix + std::string(topic);
  auto batch = std::make_shared<const std::vector<Message>>(std::move(messages));
  auto until = clock_.now() + options_->delivery_timeout;
  for (;;) {
    CO_TRY(co_await ready(name, until));
    CO_TRY_ASSIGN(auto at, producer());
    auto code = co_await at->send(clock_, name, batch, until);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) co_return Result<void>{};
    doubt(name);
    // Where a topic is gone, the producer's id may be gone too, and another's by now.
    if (is_unknown_topic(code)) at->spoil();
    if (!at->spoiled() || clock_.now() + pause >= until) co_return std::unexpected(broker_error("publishing to " + name, code));
    co_await sleep_for(clock_, pause);
  }
}

Task<Result<void>> KafkaBus::ping() {
  CO_TRY_ASSIGN(auto at, producer());
  co_return co_await reaching_->answer(clock_, clock_.now() + reach_timeout + pause,
                                       [client = at->client()] { return reach(handle_of(*client), reach_timeout); });
}

// --- subscribing

std::unique_ptr<Subscription> KafkaBus::subscribe(std::string_view topic, std::string_view group) {
  auto name = options_->topic_prefix + std::string(topic);
  return std::make_unique<KafkaSubscription>(*this, name, name + "/" + std::string(group));
}

Task<Result<void>> KafkaSubscription::join(Time until) {
  CO_TRY(co_await bus_.ready(topic_, until));
  Membership as{topic_, group_};
  if (member_) {
    as.placed = member_->placed();
    as.last_position = member_->last_position();
    member_->leave();
    member_.reset();
  }
  CO_TRY_ASSIGN(member_, bus_.join(std::move(as)));
  co_return Result<void>{};
}

Task<Result<std::vector<Message>>> KafkaSubscription::poll(std::size_t max, Time until) {
  auto& clock = bus_.clock();
  auto since = clock.now();
  for (;;) {
    if (member_ && member_->spoiled()) bus_.doubt(topic_);
    if (!member_ || member_->spoiled()) CO_TRY(co_await join(clock.now() + topic_timeout));
    auto member = member_;
    if (member->placed()) {
      auto messages = member->take(max);
      if (!messages.empty()) co_return messages;
    }
    auto patience = member->trouble() ? trouble_timeout : first_poll_timeout;
    if (co_await member->news.wait(clock, member->placed() ? until : std::max(until, since + patience))) continue;
    if (member->placed()) co_return std::vector<Message>{};
    if (member->trouble()) co_return std::unexpected(*member->trouble());
    co_return fail(Errc::unavailable, "the group " + group_ + " did not come together in time");
  }
}

Task<Result<void>> KafkaSubscription::commit(std::int64_t position) {
  auto member = member_;
  auto pending = member ? member->commit(position) : nullptr;
  if (!pending) co_return Result<void>{};
  auto until = bus_.clock().now() + commit_timeout;
  while (!pending->answer)
    if (!co_await pending->answered.wait(bus_.clock(), until)) pending->answer = RD_KAFKA_RESP_ERR__TIMED_OUT;
  if (*pending->answer) co_return std::unexpected(broker_error("committing to " + topic_, *pending->answer));
  co_return Result<void>{};
}

}  // namespace

Result<std::unique_ptr<Bus>> make_kafka_bus(Loop loop, Clock& clock, KafkaOptions options) {
  auto bus = std::make_unique<KafkaBus>(std::move(loop), clock, std::move(options));
  TRY(bus->open());
  return bus;
}

}  // namespace mayfly
