#pragma once
// Makes ready what a sandbox is made of, up to the process that is yet to be started.

#include <optional>

#include "adapters/sandbox/cgroup.h"
#include "runner/sandbox/defences.h"
#include "adapters/sandbox/disk.h"
#include "runner/sandbox/job_process.h"
#include "runner/sandbox/root.h"
#include "runner/sandbox/uids.h"

namespace mayfly {

/// Everything a sandbox holds on the machine, in the order it is made; given back in the opposite one.
struct SandboxParts {
  std::optional<JobUid> uid;
  std::optional<AttemptDisk> disk;
  std::optional<JobCgroup> cgroup;
  UniqueFd seccomp;
  UniqueFd output_reader;
  UniqueFd output_writer;
  ComposedRoot root;
  JobProcess process;
  Identity owner;
};

/// All that blocks and all that can be refused; what it made is given back if it fails.
Result<SandboxParts> prepare_sandbox(const SandboxSpec& spec, const Defences& defences);

}  // namespace mayfly
