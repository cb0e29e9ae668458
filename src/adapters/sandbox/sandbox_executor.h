#pragma once
// Executor on this machine: each attempt is one mayfly-runner process beside its sandbox. Runners outlive the server, also
// one that was killed, and the next server finds them by their directories: DIR/runners/<attempt> is the record, made before
// anything else of an attempt and removed after everything else.

#include <memory>
#include <string>
#include <vector>

#include "async/offload.h"
#include "adapters/sandbox/registry_options.h"
#include "ports/executor.h"

namespace mayfly {

struct SandboxExecutorOptions {
  std::string data_dir;                        // attempts in `runners`, images and templates in `sandbox`
  std::string runner_program;                  // mayfly-runner
  std::vector<std::string> image_directories;  // where images other than "host" may lie; none by default
  std::vector<std::string> allowed_networks;   // private networks jobs may reach, "10.1.0.0/16"; none by default
  std::size_t spare_disks = 4;                 // made ahead, so that a start does not wait for the host's disk
  std::string runsc = {};                      // gVisor's program; empty: jobs may not ask for it
  std::string log_files = {};                  // a folder: runners leave their logs there for another shipper; empty: they ship them
  RegistryOptions registries = {};             // how images by name are fetched
  bool user_namespaces = false;                // jobs may make some, for rootless builders of images; weaker
};

/// Runners as make_host_runners has them. Logs what of isolation this machine cannot give (probe.h). `offload` must outlive it.
std::unique_ptr<Executor> make_sandbox_executor(Loop loop, Offload& offload, SandboxExecutorOptions options);

}  // namespace mayfly
