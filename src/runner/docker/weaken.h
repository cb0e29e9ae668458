#pragma once
// For the tests that show what happens without a defence. Nothing but tests may call this.

#include <functional>

#include "adapters/docker/container.h"
#include "runner/docker/launcher.h"

namespace mayfly {

/// As launch_in_docker, with a container that `weaken` has had its way with.
Task<Result<std::unique_ptr<Sandbox>>> launch_in_docker_with(Loop loop, SandboxSpec spec, DockerPlace place, std::function<void(docker::ContainerSpec&)> weaken);

}  // namespace mayfly
