#pragma once
// Keeps a mirror from growing for ever: commits nobody asked for in a long time go, what is left is packed together.

#include "adapters/git/git_options.h"
#include "adapters/git/git_process.h"
#include "adapters/git/mirror.h"

namespace mayfly {

/// For whoever holds the mirror's lock. Does nothing while all is within the options' limits. Errors of run_git.
Result<void> tidy(const Mirror& mirror, const GitOptions& options, const StopFlag& stop);

}  // namespace mayfly
