#pragma once
// A loop for one task: what a command-line program needs of an event loop.

#include <functional>

#include "async/task.h"

namespace mayfly::cli {

/// Runs `make(loop)` on a loop of its own on this thread until it ends.
int run_on_loop(std::function<Task<int>(Loop)> make);

}  // namespace mayfly::cli
