#pragma once
// `mayfly up`: every role in this process, over the embedded adapters.

#include "cli/cli.h"

namespace mayfly {

/// Serves until SIGTERM or SIGINT, then drains. Returns the process's exit code; says on standard error why when it is not 0.
int run_up(UpOptions options);

}  // namespace mayfly
