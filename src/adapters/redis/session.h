#pragma once
// A connection to Redis that comes back by itself: connects, says who it is, and when it breaks or falls silent tries again
// with growing pauses. What goes over it is for who uses it (commands.h, subscriptions.h). Everything on one loop's thread.

#include <functional>
#include <memory>
#include <string>

#include "adapters/redis/resp.h"
#include "adapters/redis/url.h"
#include "async/task.h"
#include "base/time.h"

namespace mayfly {

struct RedisTimes {
  Duration connect{std::chrono::seconds{2}};          // look-up, connection and greeting
  Duration answer{std::chrono::milliseconds{500}};    // a Redis that owes an answer and says nothing for so long is away
  Duration idle{std::chrono::seconds{2}};             // nothing heard for so long: it is asked whether it is there
  Duration first_pause{std::chrono::milliseconds{20}};  // before trying again; doubled each time, and half of it by chance
  Duration last_pause{std::chrono::seconds{1}};
};

struct RedisEvents {
  std::function<void()> up;               // it answered the greeting: commands may be sent
  std::function<void(RespValue)> reply;
  std::function<void()> down;             // what was sent and not answered never will be
  std::function<void()> idle;             // send something that is answered
};

class RedisSession final {
 public:
  enum class State {
    closed,
    trying,  // connecting for the first time, or after it broke while in use: nobody knows yet
    up,
    away,    // known not to be there; tried again from time to time
  };

  RedisSession(Loop loop, RedisTarget target, RedisTimes times, RedisEvents events);
  /// No event comes after it.
  ~RedisSession();
  RedisSession(const RedisSession&) = delete;
  RedisSession& operator=(const RedisSession&) = delete;

  void open();   // nothing if it is open
  void close();  // nothing if it is closed; no `down`

  State state() const;
  /// Why it is away; a sentence without secrets.
  const std::string& trouble() const;

  /// Only while up.
  void send(std::string_view command);
  /// What was sent and has not been written to the socket yet.
  std::size_t unsent_bytes() const;
  /// Whether an answer is due: while so, silence means that Redis is away.
  void owed(bool is);
  /// Breaks the connection and tries again: Redis said something that makes it useless. Nothing unless it is up.
  void renew(std::string why);

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace mayfly
