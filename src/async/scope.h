#pragma once
// Structured concurrency: whoever starts a coroutine owns it, and outlives it. Nothing in Mayfly is detached.

#include <functional>
#include <memory>

#include "async/task.h"

namespace mayfly {

/// Runs child coroutines on one loop. cancel() makes each child's current await throw boost::system::system_error
/// (operation_aborted), which unwinds the child; join() waits until all have ended. A child that throws anything else is
/// a bug: it is logged and the process ends. Destroying a scope whose children still run is a bug too.
class Scope final {
 public:
  explicit Scope(Loop loop);
  ~Scope();
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;

  /// Starts `child` at the loop's next turn. Call from the loop's thread. After cancel() new children are dropped unstarted.
  void spawn(Task<void> child);
  void cancel();
  /// Waits for all children; a caller that is canceled meanwhile cancels them, waits still, and is unwound then.
  Task<void> join();
  std::size_t size() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

/// Unwinds the calling coroutine if it has been canceled: for adapters whose operation swallowed the cancellation.
Task<void> throw_if_canceled();

}  // namespace mayfly
