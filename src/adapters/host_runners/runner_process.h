#pragma once
// A mayfly-runner as a process of this machine: started so that it outlives the server, and found again by the next one.

#include <optional>
#include <string>

#include "adapters/sandbox/cgroup.h"
#include "adapters/host_runners/runner_files.h"
#include "adapters/sandbox/unique_fd.h"

namespace mayfly {

struct RunnerCommand {
  std::string program;    // mayfly-runner
  std::string directory;  // the attempt's
  std::string boot_token;
  int disk = -1;          // a detached disk to attach at directory/disk, in the runner's own mount namespace; -1: none
};

/// Starts `program --dir directory` in a session, a cgroup and (as root) a mount namespace of its own, so that its mounts go
/// with it; with the environment reduced to what git and TLS need, the boot token on its standard input, and process.json
/// written before the token is: a runner that reads no token must exit at once, for nobody knows of it.
Result<UniqueFd> spawn_runner(const RunnerCommand& command, const CgroupMounts& mounts, AttemptId attempt);

/// A pidfd of the process if it is the very one and has not ended.
std::optional<UniqueFd> find_process(const RunnerProcess& process);

}  // namespace mayfly
