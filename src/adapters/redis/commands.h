#pragma once
// Commands and their answers over one connection, many on their way at once. Who asks waits no longer than RedisTimes::answer,
// and not at all while Redis is known to be away.

#include <deque>
#include <memory>
#include <optional>
#include <string>

#include "adapters/redis/session.h"
#include "async/signal.h"
#include "ports/clock.h"

namespace mayfly {

struct RedisCommandLimits {
  std::size_t max_waiting = 10'000;        // commands without an answer
  std::size_t max_unsent_bytes = 64 << 20;  // that Redis has not taken yet
};

class RedisCommands final {
 public:
  /// `clock` outlives it.
  RedisCommands(Loop loop, Clock& clock, RedisTarget target, RedisTimes times, RedisCommandLimits limits = {});

  /// The answer to one command in wire form, errors of Redis' own included (Kind::error). Errc::unavailable when Redis is away
  /// or too slow, or too many ask: the command may have been done all the same.
  Task<Result<RespValue>> run(std::string command);

  /// Breaks the connection and tries again: an answer said that it is useless.
  void renew(std::string why) { session_.renew(std::move(why)); }

 private:
  struct Call {
    std::string command;  // until it is sent
    std::optional<Result<RespValue>> answer = {};
    Signal answered = {};
  };

  void send(std::shared_ptr<Call> call);
  void up();
  void reply(RespValue value);
  void down();

  Clock& clock_;
  RedisTimes times_;
  RedisCommandLimits limits_;
  std::deque<std::shared_ptr<Call>> unsent_;  // until the connection is up
  std::deque<std::shared_ptr<Call>> sent_;    // in the order of their answers; null: nobody asks for it
  RedisSession session_;
};

}  // namespace mayfly
