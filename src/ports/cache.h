#pragma once
// Fast answers that may be forgotten at any moment. Nothing is true because the cache says so. What a view refers to
// stays alive until its task is done.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "async/task.h"
#include "base/result.h"
#include "base/time.h"
#include "domain/access/gcra.h"

namespace mayfly {

struct Cached {
  std::int64_t sequence = 0;
  std::string value;
};

class CacheSubscription {
 public:
  virtual ~CacheSubscription() = default;
  /// The next message, or nothing when `until` passes first. One call at a time.
  virtual Task<std::optional<std::string>> next(Time until) = 0;
};

class Cache {
 public:
  virtual ~Cache() = default;
  virtual Task<Result<std::optional<Cached>>> get(std::string_view key) = 0;
  /// Sets unless a value with the same or a higher sequence is there; true if it was set. The key is gone after `ttl`
  /// (at least 1 ms, else Errc::invalid).
  virtual Task<Result<bool>> set_if_newer(std::string_view key, Cached value, Duration ttl) = 0;
  /// Absent is success.
  virtual Task<Result<void>> remove(std::string_view key) = 0;
  /// To all who are subscribed now; a slow subscriber loses the oldest.
  virtual Task<Result<void>> publish(std::string_view channel, std::string_view message) = 0;
  /// Takes `cost` units of the key's rate, all of them or none; every process that shares the cache shares the limit. What is
  /// forgotten is a burst anew. Keys of rates and of values do not meet. Errc::invalid as check_rate().
  virtual Task<Result<Admission>> admit(std::string_view key, Rate rate, std::int64_t cost = 1) = 0;
  virtual std::unique_ptr<CacheSubscription> subscribe(std::string_view channel) = 0;
};

}  // namespace mayfly
