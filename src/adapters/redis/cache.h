#pragma once
// The Cache port over Redis 6 or newer: what the processes of one Mayfly tell each other quickly. Redis may be emptied, killed or
// paused at any moment; who asks then hears Errc::unavailable, soon, and the cache finds back by itself.

#include <memory>
#include <string>

#include "adapters/redis/session.h"
#include "ports/cache.h"
#include "ports/clock.h"

namespace mayfly {

struct RedisOptions {
  std::string url;                          // redis://[user:password@]host[:port][/database], rediss:// over TLS
  std::string authorities = {};             // see RedisTarget
  std::string prefix = "mayfly:";           // of every key and channel: what shares a Redis shares nothing else
  RedisTimes times = {};
  std::size_t max_value_bytes = 8 << 20;    // of a value or message; beyond, Errc::too_large
  std::size_t max_queued_messages = 1024;   // of a subscriber; beyond, its oldest go
};

/// Errc::invalid for a wrong URL; a Redis that is away is no error. Everything is called from the loop's thread; `clock` and the cache outlive
/// its subscriptions and whatever waits for it.
Result<std::unique_ptr<Cache>> make_redis_cache(Loop loop, Clock& clock, RedisOptions options);

}  // namespace mayfly
