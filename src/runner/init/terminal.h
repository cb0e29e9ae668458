#pragma once
// Pseudo-terminals inside the job's own /dev/pts.

#include "base/result.h"
#include "domain/runner/shell.h"

namespace mayfly {

/// Close-on-exec; the master is non-blocking.
struct Terminal {
  int master = -1;
  int slave = -1;
};

/// Errc::unavailable: the sandbox has no /dev/ptmx, or no terminal left.
Result<Terminal> open_terminal(const ShellSize& size);

void resize_terminal(int master, const ShellSize& size);

}  // namespace mayfly
