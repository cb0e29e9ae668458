#pragma once
// A job under gVisor: the same root, disk, network, cgroups and uid as any sandbox, and instead of bubblewrap runsc, which
// puts a kernel of the job's own (the "sentry") between the job and this machine's. What is particular to it:
//
// * runsc runs as root of a user namespace that knows two people: the job, and itself under a host uid of its own. So what
//   breaks out of the sentry is still nobody here.
// * The job's network is the host's stack in the job's firewalled network namespace, not the sentry's: the sentry would send
//   frames past the firewall, and services beside the job share its loopback. Without network the sentry has its own.
// * runsc counts against the job: its threads and its memory are granted besides what the job may use.

#include <string>
#include <vector>

#include "adapters/sandbox/cgroup.h"
#include "runner/sandbox/job_process.h"
#include "runner/sandbox/launcher.h"
#include "runner/sandbox/root.h"

namespace mayfly {

inline constexpr std::int64_t gvisor_pids = 2000;                         // of a sentry and its stubs, over the job's own
inline constexpr std::int64_t gvisor_memory_bytes = std::int64_t(64) << 20;   // of runsc, its gofer and its sentry

/// The limits of a job's cgroup: what it may use itself, and what the sentries of it and its services need.
CgroupLimits gvisor_limits(const SandboxSpec& spec);

/// What is to be started, where jobs and services differ.
struct Inside {
  struct Word {
    std::string text = {};
    int fd = -1;                       // instead: the number of this descriptor, which init gets
  };
  std::string host_name;
  bool no_network = false;             // nobody but itself in reach
  Env env = {};
  std::vector<Word> init = {};         // arguments of mayfly-init
};

struct GvisorRequest {
  std::string runsc;          // the program on the host
  std::string directory;      // on the host, to be made: what runsc is told and what it notes; not on the job's disk
  std::string disk;           // on the host, with the composed root below it
  const ComposedRoot& root;
  Identity engine;            // who runsc is on the host
  uid_t uid_inside = 0;       // who the job is in its own eyes
  std::int64_t pids = 0;      // it may have; 0: no limit
  std::string meeting_point;  // where `disk` is bound, for runsc to find
};

/// Writes what runsc is told, and completes `process` with the mounts it needs and its arguments.
Result<void> describe_gvisor(const GvisorRequest& request, const Inside& inside, JobProcess& process);

}  // namespace mayfly
