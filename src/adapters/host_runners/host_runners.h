#pragma once
// Runners that are processes of this machine, whatever their jobs run in: started so that they outlive the server, watched,
// stopped, and found again by the next server. DIR/runners/<attempt> is the record of an attempt, made before anything else
// of it and removed after everything else.

#include <functional>
#include <memory>
#include <string>

#include "adapters/host_runners/runner_files.h"
#include "async/offload.h"
#include "ports/executor.h"

namespace mayfly {

inline constexpr Duration runner_kill_patience = std::chrono::seconds(10);  // between SIGKILL and giving up on it

struct HostRunnersOptions {
  std::string data_dir;                          // attempts in `runners`, disks and their templates in `sandbox`
  std::string runner_program;                    // mayfly-runner
  std::size_t spare_disks = 0;                   // made ahead, so that a start does not wait for the host's disk; root only
  std::string log_files = {};                    // where runners leave logs for another shipper
  std::function<RunnerFile(RunnerSpec)> describe;  // what a runner is told: called on other threads
};

/// As an Executor: stop() returns when the runner is gone, Errc::timeout if it survives SIGKILL; forget() of a runner that
/// still runs is Errc::conflict. `offload` must outlive it.
std::unique_ptr<Executor> make_host_runners(Loop loop, Offload& offload, HostRunnersOptions options);

}  // namespace mayfly
