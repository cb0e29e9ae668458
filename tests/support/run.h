#pragma once
// Runs coroutines to their end from a test's own thread, on the machine's clock or on a virtual one. Asio's heavy headers
// stay in run.cpp.

#include <memory>
#include <optional>
#include <utility>

#include "async/task.h"

namespace mayfly {

class VirtualClock;

/// One loop on the calling thread. A task that waits for what can never come throws std::logic_error out of run().
class TestLoop final {
 public:
  TestLoop();
  /// Time jumps to the earliest timer whenever nothing is ready. Only for code without threads behind it.
  explicit TestLoop(VirtualClock& clock);
  ~TestLoop();
  TestLoop(const TestLoop&) = delete;
  TestLoop& operator=(const TestLoop&) = delete;

  Loop loop() const;

  /// The task's value; what it throws is thrown here. Other coroutines of the loop run meanwhile.
  void run(Task<void> task);
  template <class T>
  T run(Task<T> task) {
    std::optional<T> result;
    run(keep(std::move(task), result));
    return *std::move(result);
  }

 private:
  struct State;

  template <class T>
  static Task<void> keep(Task<T> task, std::optional<T>& result) {
    result.emplace(co_await std::move(task));
  }

  std::unique_ptr<State> state_;
};

/// The task's value, on a loop that lives only for this call.
template <class T>
T run(Task<T> task) {
  TestLoop loop;
  return loop.run(std::move(task));
}

/// The same on virtual time.
template <class T>
T run(VirtualClock& clock, Task<T> task) {
  TestLoop loop(clock);
  return loop.run(std::move(task));
}

}  // namespace mayfly
