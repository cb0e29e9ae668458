#pragma once
// The loop and clock a port under test lives on: virtual time for adapters inside this process, the machine's for those
// that talk to a server.

#include <memory>

#include "adapters/system/system_clock.h"
#include "support/run.h"
#include "support/virtual_clock.h"

namespace mayfly::contract {

struct Surroundings {
  std::unique_ptr<TestLoop> loop;
  std::unique_ptr<Clock> clock;  // goes first: it may hold waits of the loop
};

inline Surroundings on_virtual_time() {
  auto clock = std::make_unique<VirtualClock>();
  auto loop = std::make_unique<TestLoop>(*clock);
  return {std::move(loop), std::move(clock)};
}

inline Surroundings on_real_time() {
  auto loop = std::make_unique<TestLoop>();
  auto clock = std::make_unique<SystemClock>(loop->loop());
  return {std::move(loop), std::move(clock)};
}

}  // namespace mayfly::contract
