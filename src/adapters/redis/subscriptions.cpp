#include "adapters/redis/subscriptions.h"

#include "base/log.h"

namespace mayfly {

using State = RedisSession::State;
using Kind = RespValue::Kind;

RedisSubscriptions::RedisSubscriptions(Loop loop, RedisTarget target, RedisTimes times, std::size_t max_queued_messages)
    : max_queued_messages_(max_queued_messages),
      session_(std::move(loop), std::move(target), times,
               {[this] { up(); }, [this](RespValue value) { reply(std::move(value)); }, [this] { down(); },
                [this] { say(resp_command({"PING"})); }}) {}

void RedisSubscriptions::add(const std::string& channel, RedisSubscriber& subscriber) {
  auto& listeners = channels_[channel];
  listeners.insert(&subscriber);
  session_.open();
  if (listeners.size() == 1) say(resp_command({"SUBSCRIBE", channel}));
}

void RedisSubscriptions::remove(const std::string& channel, RedisSubscriber& subscriber) {
  auto found = channels_.find(channel);
  found->second.erase(&subscriber);
  if (!found->second.empty()) return;
  channels_.erase(found);
  say(resp_command({"UNSUBSCRIBE", channel}));
}

/// Each gets one answer. What is not said now, because Redis is not there, is made up for by up().
void RedisSubscriptions::say(std::string_view command) {
  if (session_.state() != State::up) return;
  session_.send(command);
  ++owed_;
  session_.owed(true);
}

void RedisSubscriptions::up() {
  for (auto& [channel, listeners] : channels_) say(resp_command({"SUBSCRIBE", channel}));
}

void RedisSubscriptions::reply(RespValue value) {
  auto& items = value.items;
  bool message = items.size() == 3 && items[0].text == "message" && items[1].kind == Kind::bulk && items[2].kind == Kind::bulk;
  if (message) return deliver(items[1].text, items[2].text);
  if (value.kind == Kind::error) log_warn("Redis refuses a subscription", {{"error", value.text}});
  if (owed_ == 0) return session_.renew("it answers what was not asked");
  session_.owed(--owed_ > 0);
}

void RedisSubscriptions::deliver(const std::string& channel, const std::string& message) {
  auto found = channels_.find(channel);
  if (found == channels_.end()) return;
  for (auto* subscriber : found->second) {
    subscriber->queue.push_back(message);
    if (subscriber->queue.size() > max_queued_messages_) subscriber->queue.pop_front();
    subscriber->news.notify();
  }
}

}  // namespace mayfly
