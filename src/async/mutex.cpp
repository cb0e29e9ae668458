#include "async/mutex.h"

namespace mayfly {

Task<Mutex::Guard> Mutex::lock(TimerSource& clock) {
  if (!std::exchange(locked_, true)) co_return Guard(*this);
  // Handed over by unlock(): locked_ stays true. A waiter unwound by cancellation passes its turn on.
  struct Turn {
    Mutex& mutex;
    Signal signal;
    bool taken = false;
    ~Turn() {
      bool was_waiting = std::erase(mutex.waiting_, &signal) != 0;
      if (!taken && !was_waiting) mutex.unlock();
    }
  } turn{*this, {}};
  waiting_.push_back(&turn.signal);
  co_await turn.signal.wait(clock);
  turn.taken = true;
  co_return Guard(*this);
}

void Mutex::unlock() {
  if (waiting_.empty()) {
    locked_ = false;
    return;
  }
  auto* next = waiting_.front();
  waiting_.pop_front();
  next->notify();
}

}  // namespace mayfly
