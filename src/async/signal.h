#pragma once
// A level that coroutines of one loop wait for: notify() wakes every waiter, and is remembered if nobody waits.

#include <list>

#include "async/task.h"
#include "async/timer.h"

namespace mayfly {

class Signal final {
 public:
  /// Wakes all who wait; if none does, the next wait returns at once. Call from the loop's thread.
  void notify();

  /// True when notified, false when `until` passed first. `Time::max()` waits for ever.
  Task<bool> wait(TimerSource& clock, Time until = Time::max());

 private:
  std::list<Timer*> waiting_;
  bool set_ = false;
};

}  // namespace mayfly
