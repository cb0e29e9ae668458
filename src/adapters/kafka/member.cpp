#include "adapters/kafka/member.h"

#include <algorithm>

#include "base/log.h"

namespace mayfly::kafka {

using namespace std::chrono_literals;

namespace {

constexpr Duration tick_interval = 1s;
constexpr Duration retry_pause = 50ms;
constexpr Duration start_pause = 20ms;  // until another member has settled where the group starts
constexpr Duration farewell = 3s;

void leave_group(rd_kafka_t* consumer) {
  Queue rest(rd_kafka_queue_new(consumer));
  if (auto* refused = rd_kafka_consumer_close_queue(consumer, rest.get())) return rd_kafka_error_destroy(refused);
  auto until = std::chrono::steady_clock::now() + farewell;
  while (!rd_kafka_consumer_closed(consumer) && std::chrono::steady_clock::now() < until) {
    Event event(rd_kafka_queue_poll(rest.get(), 50));
    if (event && rd_kafka_event_type(event.get()) == RD_KAFKA_EVENT_REBALANCE) rd_kafka_assign(consumer, nullptr);
  }
}

}  // namespace

struct MemberClient {
  rd_kafka_t* handle;
  Queue group;  // what happens in the group, and errors
  Queue data;   // messages of all partitions, so that nothing waits behind them
  std::vector<Queue> partitions;

  explicit MemberClient(rd_kafka_t* h) : handle(h), group(rd_kafka_queue_get_consumer(h)), data(rd_kafka_queue_new(h)) {}
  MemberClient(const MemberClient&) = delete;

  void add_partition(const char* topic, std::int32_t partition) {
    auto& added = partitions.emplace_back(rd_kafka_queue_get_partition(handle, topic, partition));
    rd_kafka_queue_forward(added.get(), data.get());
  }
  /// librdkafka leaves a mark in the queue of a partition that was given back, and the mark keeps the partition. One that is
  /// gone from the cluster by then would be kept for ever, and rd_kafka_destroy would wait for it
  /// (https://github.com/confluentinc/librdkafka/pull/4724).
  void forget_partitions() {
    for (auto& queue : partitions)
      while (Event(rd_kafka_queue_poll(queue.get(), 0))) {
      }
    partitions.clear();
  }
  ~MemberClient() {
    leave_group(handle);
    forget_partitions();
    data.reset();
    group.reset();
    rd_kafka_destroy_flags(handle, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
  }
};

Result<std::shared_ptr<Member>> Member::join(Loop loop, Offload& blocking, const KafkaOptions& options, Membership membership) {
  TRY_ASSIGN(auto* handle, make_consumer(options, membership.group));
  std::shared_ptr<Member> out(new Member(loop, blocking, std::move(membership)));
  out->client_ = std::make_shared<MemberClient>(handle);
  auto* self = out.get();
  out->group_watch_.emplace(loop, out->client_->group.get(), [self] { self->serve(); });
  out->data_watch_.emplace(loop, out->client_->data.get(), [self] { self->news.notify(); });
  out->tick_.emplace(loop, tick_interval, [self] { self->tick(); });
  out->look();
  return out;
}

Member::Member(Loop loop, Offload& blocking, Membership membership)
    : loop_(std::move(loop)), blocking_(blocking), as_(std::move(membership)), positions_(as_.last_position) {}

Member::~Member() {
  if (client_) leave();
}

void Member::leave() {
  retry_.reset();
  tick_.reset();
  group_watch_.reset();
  data_watch_.reset();
  dealt_.reset();
  for (auto& [_, pending] : commits_) {
    pending->answer = RD_KAFKA_RESP_ERR__DESTROY;
    pending->answered.notify();
  }
  commits_.clear();
  blocking_.post([client = std::exchange(client_, nullptr)]() mutable { client.reset(); });
}

/// Asks the client elsewhere, and tells the answer on the loop unless we have left by then.
template <class Ask, class Tell>
void Member::elsewhere(Ask ask, Tell tell) {
  blocking_.post([self = shared_from_this(), client = client_, ask = std::move(ask), tell = std::move(tell)]() mutable {
    auto answer = ask(client->handle);
    client.reset();
    auto loop = self->loop_;
    post_to(loop, [self = std::move(self), tell = std::move(tell), answer = std::move(answer)]() mutable {
      if (self->client_) tell(*self, std::move(answer));
    });
  });
}

void Member::later(Duration pause, void (Member::*what)()) {
  retry_.emplace(loop_, pause, [this, what] {
    retry_.reset();
    (this->*what)();
  });
}

void Member::look() {
  elsewhere([topic = as_.topic](rd_kafka_t* client) { return look_around(client, topic); },
            [](Member& self, Result<Look> look) { self.looked(std::move(look)); });
}

void Member::looked(Result<Look> look) {
  if (!look) {
    if (look.error().code == Errc::not_found) spoiled_ = true;
    trouble_ = look.error();
    later(retry_pause, &Member::look);
    return news.notify();
  }
  trouble_.reset();
  ends_ = std::move(look->ends);
  if (look->started) as_.placed = true;
  Partitions topics(rd_kafka_topic_partition_list_new(1));
  rd_kafka_topic_partition_list_add(topics.get(), as_.topic.c_str(), RD_KAFKA_PARTITION_UA);
  if (auto code = rd_kafka_subscribe(client_->handle, topics.get())) failed(code);
  news.notify();
}

void Member::place() {
  if (!dealt_) return;
  bool holds_the_first = rd_kafka_topic_partition_list_find(dealt_.get(), as_.topic.c_str(), 0) != nullptr;
  elsewhere(
      [topic = as_.topic, place = Place{holds_the_first, as_.placed, ends_}](rd_kafka_t* client) { return settle(client, topic, place); },
      [deal = deal_](Member& self, Result<std::optional<Offsets>> at) { self.settled(deal, std::move(at)); });
}

void Member::settled(int deal, Result<std::optional<Offsets>> at) {
  if (deal != deal_ || !dealt_) return;
  if (!at) {
    if (at.error().code == Errc::not_found) spoiled_ = true;
    trouble_ = at.error();
    later(retry_pause, &Member::place);
  } else if (!*at) {
    later(start_pause, &Member::place);
  } else {
    trouble_.reset();
    as_.placed = true;
    assign(**at);
  }
  news.notify();
}

void Member::assign(const Offsets& at) {
  auto* list = dealt_.get();
  client_->forget_partitions();  // of the deal before
  for (int i = 0; i < list->cnt; ++i) {
    auto& partition = list->elems[i];
    bool known = std::size_t(partition.partition) < at.size();
    partition.offset = known ? at[std::size_t(partition.partition)] : std::int64_t(RD_KAFKA_OFFSET_BEGINNING);
    client_->add_partition(partition.topic, partition.partition);
  }
  if (auto code = rd_kafka_assign(client_->handle, list)) failed(code);
  dealt_.reset();
}

void Member::give_back() {
  ++deal_;
  dealt_.reset();
  retry_.reset();
  positions_.drop();
  if (auto code = rd_kafka_assign(client_->handle, nullptr)) failed(code);
}

std::vector<Message> Member::take(std::size_t max) {
  std::vector<rd_kafka_message_t*> found(max);
  constexpr int only_what_is_here = 0;
  auto count = rd_kafka_consume_batch_queue(client_->data.get(), only_what_is_here, found.data(), max);
  std::vector<Message> out;
  for (auto* m : std::span(found).first(std::size_t(std::max<ssize_t>(count, 0)))) {
    if (m->err)
      failed(m->err);
    else
      out.push_back({std::string(static_cast<const char*>(m->key), m->key_len),
                     std::string(static_cast<const char*>(m->payload), m->len), positions_.add(m->partition, m->offset)});
    rd_kafka_message_destroy(m);
  }
  return out;
}

std::shared_ptr<PendingCommit> Member::commit(std::int64_t position) {
  auto offsets = positions_.up_to(position);
  if (offsets.empty()) return nullptr;
  Partitions list(rd_kafka_topic_partition_list_new(int(offsets.size())));
  for (auto& [partition, offset] : offsets) rd_kafka_topic_partition_list_add(list.get(), as_.topic.c_str(), partition)->offset = offset;
  auto pending = std::make_shared<PendingCommit>(PendingCommit{position, {}, {}});
  commits_[pending.get()] = pending;
  if (auto code = rd_kafka_commit_queue(client_->handle, list.get(), client_->group.get(), nullptr, pending.get())) {
    commits_.erase(pending.get());
    pending->answer = code;
  }
  return pending;
}

void Member::committed(rd_kafka_event_t* event) {
  auto found = commits_.find(rd_kafka_event_opaque(event));
  if (found == commits_.end()) return;
  auto pending = std::move(found->second);
  commits_.erase(found);
  pending->answer = rd_kafka_event_error(event);
  if (!*pending->answer) positions_.committed(pending->position);
  pending->answered.notify();
}

void Member::serve() {
  while (client_) {
    Event event(rd_kafka_queue_poll(client_->group.get(), 0));
    if (!event) break;
    switch (rd_kafka_event_type(event.get())) {
      case RD_KAFKA_EVENT_REBALANCE: rebalance(event.get()); break;
      case RD_KAFKA_EVENT_OFFSET_COMMIT: committed(event.get()); break;
      case RD_KAFKA_EVENT_ERROR: failed(rd_kafka_event_error(event.get())); break;
      default: break;
    }
  }
}

void Member::rebalance(rd_kafka_event_t* event) {
  give_back();
  if (rd_kafka_event_error(event) != RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) return;
  dealt_.reset(rd_kafka_topic_partition_list_copy(rd_kafka_event_topic_partition_list(event)));
  place();
}

void Member::failed(rd_kafka_resp_err_t code) {
  bool fatal = code == RD_KAFKA_RESP_ERR__FATAL || rd_kafka_fatal_error(client_->handle, nullptr, 0);
  if (fatal || is_unknown_topic(code)) spoiled_ = true;
  trouble_ = broker_error("following " + as_.topic, code);
  log(Level::debug, "a member of a Kafka group", {{"topic", as_.topic}, {"group", as_.group}, {"error", rd_kafka_err2str(code)}});
  news.notify();
}

void Member::tick() {
  serve();  // also tells librdkafka that we live
  auto id = cluster_id(client_->handle);
  auto before = id.empty() ? cluster_ : std::exchange(cluster_, id);
  if (before.empty() || before == cluster_) return;
  spoiled_ = true;
  news.notify();
}

}  // namespace mayfly::kafka
