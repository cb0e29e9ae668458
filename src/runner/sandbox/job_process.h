#pragma once
// The narrow passage between the runner and its job: what the new process does between clone and exec. By then it has the
// runner's memory but only one of its threads, so everything is laid out before, and the child makes plain system calls.

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "adapters/sandbox/unique_fd.h"
#include "runner/sandbox/netlink.h"

namespace mayfly {

/// One mount(2). An empty source, type or data is passed as null.
struct MountStep {
  std::string source;
  std::string target;
  std::string type;
  std::string data;
  unsigned long flags = 0;
};

struct Identity {
  uid_t uid = 0;
  gid_t gid = 0;
};

/// One uid, and the gid of the same number, of a user namespace.
struct UserMap {
  uid_t inside = 0;
  uid_t outside = 0;
};

struct JobProcess {
  int unified_cgroup = -1;             // directory of a v2 cgroup to be born in; -1: the runner's own
  std::vector<int> cgroup_tasks;       // v1 `tasks` files to enter
  bool own_user_namespace = false;     // unprivileged: become root of a namespace that maps nobody but us
  bool own_network = false;            // a new network namespace
  int join_user_namespace = -1;        // instead of an own one: the namespace file of another job process; so the next
  int join_network = -1;
  bool low_ports = false;              // ports below 1024 of that network are free to all
  std::vector<NetlinkRequest> network_setup;  // sent to the kernel in it
  std::vector<MountStep> mounts;       // in a mount namespace of its own
  std::optional<Identity> become;      // after the mounts; no groups besides
  std::vector<UserMap> users;          // else, if not empty: root of a user namespace with these, 0 among them
  std::vector<std::string> arguments;  // [0] is the program's path
  std::vector<int> keep_open;          // under the same numbers in the program; everything else above 2 is closed
  int output = -1;                     // its stdout and stderr
};

/// A child of ours that executes `arguments`, or that died trying.
struct SpawnedJob {
  pid_t pid = -1;
  UniqueFd pidfd;    // readable when it has ended
  UniqueFd failure;  // at its end of file: nothing, or why the program could not be executed (read_failure)
};

/// The child is killed when the calling thread ends, so call from a thread that lives as long as the job may.
Result<SpawnedJob> spawn_job(const JobProcess& job);

/// What went wrong before the exec, if something did; call when the child has ended.
std::optional<Error> read_failure(const JobProcess& job, int failure_fd);

}  // namespace mayfly
