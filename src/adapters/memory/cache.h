#pragma once
// The Cache port inside one process: for `mayfly up` and the simulator. Everything is called from one loop's thread.

#include <memory>

#include "ports/cache.h"
#include "ports/clock.h"

namespace mayfly {

struct MemoryCacheLimits {
  std::size_t max_keys = 100'000;  // beyond either, the keys unused for longest go
  std::size_t max_bytes = 16 << 20;
  std::size_t max_queued_messages = 1024;  // of a subscriber; beyond, its oldest go
};

/// `clock` and the cache outlive its subscriptions.
std::unique_ptr<Cache> make_memory_cache(Clock& clock, MemoryCacheLimits limits = {});

}  // namespace mayfly
