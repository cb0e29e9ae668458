#pragma once
// Makes ready what a sandbox is made of, up to the process that is yet to be started.

#include <optional>

#include "adapters/sandbox/cgroup.h"
#include "runner/sandbox/defences.h"
#include "runner/sandbox/image_store.h"
#include "adapters/sandbox/disk.h"
#include "runner/sandbox/job_process.h"
#include "runner/sandbox/root.h"
#include "runner/sandbox/uids.h"

namespace mayfly {

/// Everything a sandbox holds on the machine, in the order it is made; given back in the opposite one.
struct SandboxParts {
  Image image;
  std::optional<JobUid> uid;
  std::optional<JobUid> engine_uid;   // runsc's
  std::optional<AttemptDisk> disk;
  std::optional<JobCgroup> cgroup;
  UniqueFd seccomp;
  UniqueFd output_reader;
  UniqueFd output_writer;
  ComposedRoot root;
  JobProcess process;
  Identity owner;
};

/// What one service holds besides; its disk and its cgroup are the job's.
struct ServiceParts {
  Image image;
  std::optional<JobUid> uid;
  std::optional<JobUid> engine_uid;
  UniqueFd seccomp;
  UniqueFd output_reader;
  UniqueFd output_writer;
  UniqueFd control;        // of the service's mayfly-init, until it has it
  ComposedRoot root;
  JobProcess process;
  std::vector<std::string> command;   // the image's
  Env env;                            // to start it with
  std::string directory;
};

/// All that blocks and all that can be refused; what it made is given back if it fails.
Result<SandboxParts> prepare_sandbox(const SandboxSpec& spec, const Defences& defences);

/// The same for a service of a job that stands already. `control` becomes its mayfly-init's. The namespaces to join are for the caller to add.
Result<ServiceParts> prepare_service(const SandboxSpec& spec, const ServiceSpec& service, const Defences& defences, const SandboxParts& job, UniqueFd control);

}  // namespace mayfly
