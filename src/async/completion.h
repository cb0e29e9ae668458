#pragma once
// The bridge from callbacks to coroutines: for drivers that answer on threads of their own.

#include <functional>

#include "async/task.h"

namespace mayfly {

using Done = std::move_only_function<void()>;

/// Calls `start` with a `done` that must be called exactly once, from any thread, now or later; comes back on the caller's
/// loop after that. A cancellation does not end the wait, so what `start` refers to stays alive until `done`.
Task<void> completed_by(std::move_only_function<void(Done done)> start);

}  // namespace mayfly
