#pragma once
// A thread that talks to the engine: a job's streams go on while the runner's own loop does something else, and a sandbox that
// is destroyed can wait for its container's end, which no loop could from inside a destructor.

#include <functional>
#include <memory>
#include <optional>

#include "async/signal.h"
#include "async/system_timer.h"
#include "async/task.h"
#include "base/result.h"

namespace mayfly {

/// A value that comes from another thread, for coroutines of one loop. Shared, so that either side may go first.
template <class T>
class Promised final {
 public:
  explicit Promised(const Loop& loop) : timers_(make_system_timers(loop)) {}

  /// On the loop. Only the first counts.
  void set(T value) {
    if (value_) return;
    value_.emplace(std::move(value));
    signal_.notify();
  }
  bool is_set() const { return value_.has_value(); }
  const T& value() const { return *value_; }

  Task<void> wait() {
    while (!value_) co_await signal_.wait(*timers_);
  }

 private:
  std::unique_ptr<TimerSource> timers_;
  Signal signal_;
  std::optional<T> value_;
};

class EngineThread final {
 public:
  EngineThread();
  /// As stop().
  ~EngineThread();
  EngineThread(const EngineThread&) = delete;
  EngineThread& operator=(const EngineThread&) = delete;

  Loop loop() const;
  /// Starts what `make` returns, on the thread. From any thread.
  void spawn(std::function<Task<void>()> make);
  /// Cancels all of it and waits.
  void stop();
  /// After stop(): runs one more task, on the caller's thread, to its end.
  void run_last(Task<void> task);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Runs `work` from any thread on a loop, soon.
void post_to(const Loop& loop, std::move_only_function<void()> work);

}  // namespace mayfly
