#pragma once
// Executor whose jobs are containers of a Docker engine. A runner is a process of this machine (host_runners.h) and makes its container
// itself (runner/docker); here is what neither of them can do alone: to remove the containers of runners that were killed.

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "adapters/docker/engine.h"
#include "async/offload.h"
#include "ports/executor.h"

namespace mayfly {

inline constexpr Duration leftovers_interval = std::chrono::seconds(30);   // between two looks without an event
inline constexpr Duration engine_retry = std::chrono::seconds(2);          // of following an engine that is gone

struct DockerExecutorOptions {
  std::string data_dir;                             // of its runners: with the pool's name it says whose a container is
  std::string pool;
  std::string runner_program;                       // mayfly-runner
  std::string socket;                               // a path
  std::string default_image = {};                   // of jobs that name none
  std::string network = {};                         // an operator's own, for jobs with network; empty: ours, behind rules of ours
  std::map<std::string, std::string> runtimes = {}; // isolation → the engine's runtime; "" is its default
  std::vector<std::string> allowed_networks = {};
  std::string log_files = {};
};

/// Runners as make_host_runners has them, whether the engine answers or not; spawn its run(). Errc::unsupported from start(): an isolation
/// that has no runtime.
std::unique_ptr<Executor> make_docker_executor(Loop loop, Offload& offload, DockerExecutorOptions options);

}  // namespace mayfly
