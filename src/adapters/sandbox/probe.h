#pragma once
// What this machine can do for sandboxes, asked once when a server starts, so that what will not hold is said before the
// first job and not in its ruins.

#include <string>
#include <vector>

#include "adapters/sandbox/cgroup.h"

namespace mayfly {

struct MachineFacts {
  bool root = false;
  bool bubblewrap = false;
  bool user_namespaces = false;
  bool overlay = false;         // known to the kernel already; it may still load a module
  bool loop_devices = false;
  bool nf_netlink = false;
  bool slirp4netns = false;     // the program, and /dev/net/tun for it
  bool image_tools = false;     // skopeo and umoci
  CgroupMounts cgroups;
};

MachineFacts probe_machine();

/// A sentence for each thing that jobs will lack here, worst first; none on a complete machine.
std::vector<std::string> shortfalls(const MachineFacts& facts);

}  // namespace mayfly
