#include "adapters/system/system_clock.h"

#include "async/system_timer.h"

namespace mayfly {

SystemClock::SystemClock(Loop loop) : timers_(make_system_timers(std::move(loop))) {}

Time SystemClock::now() const {
  using namespace std::chrono;
  return time_point_cast<Duration>(system_clock::now());
}

std::unique_ptr<Timer> SystemClock::make_timer() { return timers_->make_timer(); }

}  // namespace mayfly
