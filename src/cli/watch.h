#pragma once
// Looking at a build until it ends. Events say that something moved, the build itself says what, so a lost event costs
// nothing.

#include <functional>

#include "cli/client/types.h"
#include "cli/session.h"

namespace mayfly::cli {

/// Calls `look` with the build as it is now and whenever it moved, until `look` returns false or the build has ended (it has
/// seen that too). Errc::unavailable when the server has been away for `patience`.
Task<Result<Build>> follow_build(Session& session, std::string build_id, std::function<bool(const Build&)> look);

/// On a terminal a tree that is drawn again, elsewhere a line for each change; ends with the verdict and the last log lines
/// of what failed. With --json only the ended build.
Task<Result<Build>> watch_build(Session& session, std::string build_id);

/// done for a build that succeeded, else said_no.
int exit_code_of(const Build& build);

}  // namespace mayfly::cli
