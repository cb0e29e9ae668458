#pragma once
// The Bus port inside one process: for `mayfly up` and the simulator. Everything is called from one loop's thread.

#include <memory>

#include "async/timer.h"
#include "ports/bus.h"

namespace mayfly {

/// What each topic keeps; beyond either, the oldest messages go.
struct MemoryBusLimits {
  std::size_t max_kept_messages = 100'000;
  std::size_t max_kept_bytes = 16 << 20;
};

/// `timers` and the bus outlive its subscriptions. A group that has no member and never committed is forgotten.
std::unique_ptr<Bus> make_memory_bus(TimerSource& timers, MemoryBusLimits limits = {});

}  // namespace mayfly
