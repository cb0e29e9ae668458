#pragma once
// Mutual exclusion between coroutines of one loop, first come first served, across their awaits.

#include <list>
#include <utility>

#include "async/signal.h"
#include "async/task.h"

namespace mayfly {

class Mutex final {
 public:
  class Guard final {
   public:
    explicit Guard(Mutex& mutex) : mutex_(&mutex) {}
    Guard(Guard&& other) noexcept : mutex_(std::exchange(other.mutex_, nullptr)) {}
    Guard& operator=(Guard&&) = delete;
    ~Guard() {
      if (mutex_) mutex_->unlock();
    }

   private:
    Mutex* mutex_;
  };

  /// The mutex must outlive the guard and everybody who waits.
  Task<Guard> lock(TimerSource& clock);
  bool busy() const { return locked_; }

 private:
  void unlock();

  std::list<Signal*> waiting_;
  bool locked_ = false;
};

}  // namespace mayfly
