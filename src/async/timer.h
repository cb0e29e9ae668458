#pragma once
// One wait for an instant, on whichever clock made it. The base of sleeping and of every wait with a time limit, so that
// virtual time reaches them all. ports/clock.h adds what time it is.

#include <memory>

#include "async/task.h"
#include "base/time.h"

namespace mayfly {

class Timer {
 public:
  virtual ~Timer() = default;
  /// Waits until `at`; true when it came, false when cancel() was called first. One wait at a time.
  virtual Task<bool> wait_until(Time at) = 0;
  virtual void cancel() = 0;
};

class TimerSource {
 public:
  virtual ~TimerSource() = default;
  virtual std::unique_ptr<Timer> make_timer() = 0;
};

}  // namespace mayfly
