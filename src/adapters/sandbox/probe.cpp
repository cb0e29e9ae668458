#include "adapters/sandbox/probe.h"

#include <linux/netlink.h>
#include <sys/socket.h>
#include <unistd.h>

#include <sstream>

#include "adapters/sandbox/tools.h"
#include "adapters/sandbox/unique_fd.h"

namespace mayfly {
namespace {

/// The number in a file of /proc; `otherwise` where there is no such file.
long number_in(const char* path, long otherwise) {
  std::istringstream in(read_whole(path));
  long value = otherwise;
  return in >> value ? value : otherwise;
}

bool kernel_knows(const std::string& file_system) {
  std::istringstream in(read_whole("/proc/filesystems"));
  for (std::string line; std::getline(in, line);)
    if (line.ends_with("\t" + file_system)) return true;
  return false;
}

}  // namespace

MachineFacts probe_machine() {
  MachineFacts facts;
  facts.root = geteuid() == 0;
  facts.bubblewrap = !find_program("bwrap").empty();
  facts.user_namespaces = number_in("/proc/sys/user/max_user_namespaces", 0) > 0 &&
                          (facts.root || (number_in("/proc/sys/kernel/unprivileged_userns_clone", 1) != 0 &&
                                          number_in("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", 0) == 0));
  facts.overlay = kernel_knows("overlay");
  facts.loop_devices = facts.root && access("/dev/loop-control", R_OK | W_OK) == 0 && !find_program("mkfs.ext4").empty();
  facts.nf_netlink = bool(UniqueFd(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER)));
  facts.slirp4netns = !find_program("slirp4netns").empty() && access("/dev/net/tun", R_OK | W_OK) == 0;
  facts.image_tools = !find_program("skopeo").empty() && !find_program("umoci").empty();
  facts.cgroups = CgroupMounts::find();
  return facts;
}

std::vector<std::string> shortfalls(const MachineFacts& facts) {
  std::vector<std::string> all;
  auto unless = [&](bool there, const char* sentence) {
    if (!there) all.push_back(sentence);
  };
  auto& cgroups = facts.cgroups;
  unless(facts.bubblewrap, "no job can run: bubblewrap is not installed");
  unless(facts.user_namespaces, "no job can run: this user may not make user namespaces (user.max_user_namespaces, kernel.unprivileged_userns_clone)");
  unless(facts.overlay, "no job can run unless the kernel can load its overlay module");
  unless(cgroups.unified_limits || !cgroups.memory.empty(), "memory limits do not hold: no memory cgroup is writable");
  unless(cgroups.unified_limits || !cgroups.pids.empty(), "process limits do not hold: no pids cgroup is writable");
  unless(cgroups.unified_limits || !cgroups.cpu.empty(), "cpu limits do not hold: no cpu cgroup is writable");
  unless(facts.loop_devices, "disk limits do not hold: jobs' disks need root, /dev/loop-control and mkfs.ext4");
  unless(facts.root, "jobs have the server's own uid on the host: only root can give them one each");
  unless(facts.slirp4netns, "jobs with network fail: they need slirp4netns and a /dev/net/tun this user can open");
  unless(facts.nf_netlink, "jobs with network fail: this kernel has no nf_tables for their firewall");
  unless(facts.image_tools, "OCI images cannot be unpacked: skopeo and umoci are not installed");
  return all;
}

}  // namespace mayfly
