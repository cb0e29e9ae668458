#pragma once
// All subscriptions of a process over one connection: a channel is asked for while anybody here listens to it, and asked for
// again whenever Redis comes back. What was published while it was away is lost, as the port says.

#include <deque>
#include <map>
#include <set>
#include <string>

#include "adapters/redis/session.h"
#include "async/signal.h"

namespace mayfly {

struct RedisSubscriber {
  std::deque<std::string> queue = {};
  Signal news = {};
};

class RedisSubscriptions final {
 public:
  RedisSubscriptions(Loop loop, RedisTarget target, RedisTimes times, std::size_t max_queued_messages);

  /// Until remove() with the same arguments; a subscriber stays in its place meanwhile.
  void add(const std::string& channel, RedisSubscriber& subscriber);
  void remove(const std::string& channel, RedisSubscriber& subscriber);

 private:
  void up();
  void reply(RespValue value);
  void down() { owed_ = 0; }
  void say(std::string_view command);
  void deliver(const std::string& channel, const std::string& message);

  std::size_t max_queued_messages_;
  std::map<std::string, std::set<RedisSubscriber*>, std::less<>> channels_;
  std::size_t owed_ = 0;  // answers to what was said
  RedisSession session_;
};

}  // namespace mayfly
