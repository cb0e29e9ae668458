#pragma once
// Jobs in containers of a Docker engine: behind the seam of runner/sandbox/launcher.h.

#include "adapters/host_runners/runner_files.h"
#include "runner/sandbox/launcher.h"

namespace mayfly {

inline constexpr Duration engine_patience = std::chrono::seconds(10);     // with an engine that has gone, before its container is called lost
inline constexpr Duration container_kill_patience = std::chrono::seconds(20);
inline constexpr int pull_tries = 5;

/// As launch_sandbox. Errc::not_found: no such image. Errc::forbidden: the registry does not give it. Errc::timeout: the registry did not
/// answer in pull_tries. Errc::too_large: the engine's disk is full. Errc::conflict: the attempt has a container already. Canceled
/// meanwhile, nothing is left.
Task<Result<std::unique_ptr<Sandbox>>> launch_in_docker(Loop loop, SandboxSpec spec, DockerPlace place);

}  // namespace mayfly
