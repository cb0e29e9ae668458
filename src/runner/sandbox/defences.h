#pragma once
// The walls between a job and the machine, each with its own switch: for the tests that show what happens without it.
// Nothing but tests may call launch_sandbox_with.

#include "runner/sandbox/launcher.h"

namespace mayfly {

struct Defences {
  bool own_uid = true;          // off: bubblewrap runs as the caller, root maybe
  bool allow_list = true;       // off: the host's whole root instead of the composed one
  bool seccomp = true;
  bool no_capabilities = true;  // off: all of them in the job's user namespace
  bool process_namespace = true;
  bool network_namespace = true;
  bool firewall = true;         // of a job with network
  bool undumpable_init = true;
};

Task<Result<std::unique_ptr<Sandbox>>> launch_sandbox_with(Loop loop, SandboxSpec spec, Defences defences);

}  // namespace mayfly
