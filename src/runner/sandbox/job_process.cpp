#include "runner/sandbox/job_process.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "adapters/sandbox/clone.h"
#include "base/log.h"

namespace mayfly {
namespace {

enum class Stage : int { cgroup, user_namespace, join, network, mount, identity, descriptors, exec };

struct Failure {
  Stage stage;
  int index;
  int error;
};

// Everything the child touches, as C values that need no allocation.
struct Layout {
  const JobProcess& job;
  std::vector<char*> arguments;
  int null_fd;
  int failure_fd;
  int mapped_fd;  // told once there is a user namespace: with its maps, or in want of them
  int go_fd;      // told when they have been written
  pid_t parent;
  char uid_map[32];
  char gid_map[32];
};

const char* or_null(const std::string& text) { return text.empty() ? nullptr : text.c_str(); }

// From here to the end of child_main: async-signal-safe calls only.

[[noreturn]] void give_up(const Layout& layout, Stage stage, int index = 0) {
  Failure failure{stage, index, errno};
  [[maybe_unused]] auto written = write(layout.failure_fd, &failure, sizeof failure);
  _exit(126);
}

void die_with_parent(const Layout& layout) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != layout.parent) _exit(126);
}

void enter_cgroups(const Layout& layout) {
  // "0" into `tasks` moves this thread only, which spares the kernel's machine-wide lock (8 to 16 ms on an idle machine).
  for (int fd : layout.job.cgroup_tasks)
    if (write(fd, "0", 1) != 1) give_up(layout, Stage::cgroup);
}

bool write_file(const char* path, const char* text) {
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  bool ok = fd >= 0 && write(fd, text, strlen(text)) == ssize_t(strlen(text));
  close(fd);
  return ok;
}

/// Root inside is us outside, and nobody else exists.
void map_to_root(const Layout& layout) {
  if (!layout.job.own_user_namespace) return;
  // The runner keeps its memory to itself, and with that the files in /proc: ours must be ours for a moment.
  prctl(PR_SET_DUMPABLE, 1);
  bool ok = write_file("/proc/self/setgroups", "deny") && write_file("/proc/self/uid_map", layout.uid_map) && write_file("/proc/self/gid_map", layout.gid_map);
  if (!ok || write(layout.mapped_fd, "y", 1) != 1) give_up(layout, Stage::user_namespace);
}

/// A service stands beside its job: in the same network, and without root in the same user namespace, which owns it.
void join(const Layout& layout) {
  auto& job = layout.job;
  if (job.join_user_namespace >= 0 && setns(job.join_user_namespace, CLONE_NEWUSER) != 0) give_up(layout, Stage::join);
  if (job.join_network >= 0 && setns(job.join_network, CLONE_NEWNET) != 0) give_up(layout, Stage::join);
  if (job.join_user_namespace >= 0 && unshare(CLONE_NEWNS) != 0) give_up(layout, Stage::join);
}

void set_up_network(const Layout& layout) {
  if (layout.job.low_ports) write_file("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0");
  for (auto& request : layout.job.network_setup)
    if ((errno = send_netlink(request)) != 0) give_up(layout, Stage::network);
}

void make_mounts(const Layout& layout) {
  int index = 0;
  for (auto& step : layout.job.mounts) {
    if (mount(or_null(step.source), step.target.c_str(), or_null(step.type), step.flags, or_null(step.data)) != 0)
      give_up(layout, Stage::mount, index);
    ++index;
  }
}

void drop_identity(const Layout& layout) {
  if (!layout.job.become) return;
  auto [uid, gid] = *layout.job.become;
  // The plain system calls: glibc's wrappers would signal threads that do not exist here.
  if (syscall(SYS_setgroups, 0, nullptr) != 0 || syscall(SYS_setresgid, gid, gid, gid) != 0 || syscall(SYS_setresuid, uid, uid, uid) != 0)
    give_up(layout, Stage::identity);
  die_with_parent(layout);  // a change of uid forgets it
}

/// Root of a namespace of people who are nobody outside; our parent says who they are.
void become_root_of_others(const Layout& layout) {
  if (layout.job.users.empty()) return;
  char go = 0;
  bool ok = unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0 && write(layout.mapped_fd, "y", 1) == 1 && read(layout.go_fd, &go, 1) == 1;
  ok = ok && syscall(SYS_setgroups, 0, nullptr) == 0 && syscall(SYS_setresgid, 0, 0, 0) == 0 && syscall(SYS_setresuid, 0, 0, 0) == 0;
  if (!ok) give_up(layout, Stage::user_namespace);
  die_with_parent(layout);
}

void arrange_descriptors(const Layout& layout) {
  bool ok = dup2(layout.null_fd, 0) == 0 && dup2(layout.job.output, 1) == 1 && dup2(layout.job.output, 2) == 2;
  ok = ok && syscall(SYS_close_range, 3, ~0U, CLOSE_RANGE_CLOEXEC) == 0;
  for (int fd : layout.job.keep_open) ok = ok && fcntl(fd, F_SETFD, 0) == 0;
  if (!ok) give_up(layout, Stage::descriptors);
}

[[noreturn]] void child_main(const Layout& layout) {
  die_with_parent(layout);
  restore_signals();
  enter_cgroups(layout);
  map_to_root(layout);
  join(layout);
  set_up_network(layout);
  make_mounts(layout);
  // One byte, not zero: zero still feeds a core_pattern that is a pipe to a program of the host's root.
  rlimit no_core{1, 1};
  setrlimit(RLIMIT_CORE, &no_core);
  umask(022);
  if (chdir("/") != 0) give_up(layout, Stage::mount, 0);
  drop_identity(layout);
  become_root_of_others(layout);
  arrange_descriptors(layout);
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  char* no_environment[] = {nullptr};
  execve(layout.arguments[0], layout.arguments.data(), no_environment);
  give_up(layout, Stage::exec);
}

std::string describe(const JobProcess& job, const Failure& failure) {
  switch (failure.stage) {
    case Stage::cgroup: return "enter its cgroup";
    case Stage::user_namespace: return "make a user namespace";
    case Stage::join: return "join the job's network";
    case Stage::network: return "set up its network (does this kernel have nf_tables?)";
    case Stage::mount: {
      auto& step = job.mounts.at(std::size_t(failure.index));
      return "mount " + (step.source.empty() ? step.type : step.source) + " on " + step.target;
    }
    case Stage::identity: return "drop to an unprivileged uid";
    case Stage::descriptors: return "arrange its file descriptors";
    case Stage::exec: return "execute " + job.arguments.at(0);
  }
  return "start";
}

/// Blocks until the child has made its namespace; if it ends before, read_failure says why.
Result<void> introduce_users(pid_t child, const JobProcess& job, int made_fd, int go_fd) {
  char made = 0;
  if (read(made_fd, &made, 1) != 1) return {};
  std::string map;
  for (auto& user : job.users) map += std::to_string(user.inside) + " " + std::to_string(user.outside) + " 1\n";
  for (auto file : {"uid_map", "gid_map"}) {
    auto path = "/proc/" + std::to_string(child) + "/" + file;
    UniqueFd fd(open(path.c_str(), O_WRONLY | O_CLOEXEC));
    if (!fd || write(fd.get(), map.data(), map.size()) != ssize_t(map.size())) return fail(Errc::unavailable, "sandbox: cannot write " + path + ": " + std::strerror(errno));
  }
  if (write(go_fd, "y", 1) != 1) return fail(Errc::unavailable, "sandbox: its process does not listen");
  return {};
}

}  // namespace

Result<SpawnedJob> spawn_job(const JobProcess& job) {
  int ends[2], mapped[2], go[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return fail(Errc::unavailable, std::string("sandbox: no pipe: ") + std::strerror(errno));
  UniqueFd readable(ends[0]), writable(ends[1]), null_fd(open("/dev/null", O_RDWR | O_CLOEXEC));
  if (pipe2(mapped, O_CLOEXEC) != 0) return fail(Errc::unavailable, std::string("sandbox: no pipe: ") + std::strerror(errno));
  UniqueFd mapped_reader(mapped[0]), mapped_writer(mapped[1]);
  if (pipe2(go, O_CLOEXEC) != 0) return fail(Errc::unavailable, std::string("sandbox: no pipe: ") + std::strerror(errno));
  UniqueFd go_reader(go[0]), go_writer(go[1]);
  Layout layout{job, {}, null_fd.get(), writable.get(), mapped_writer.get(), go_reader.get(), getpid(), {}, {}};
  std::snprintf(layout.uid_map, sizeof layout.uid_map, "0 %u 1", getuid());
  std::snprintf(layout.gid_map, sizeof layout.gid_map, "0 %u 1", getgid());
  for (auto& argument : job.arguments) layout.arguments.push_back(const_cast<char*>(argument.c_str()));
  layout.arguments.push_back(nullptr);
  std::uint64_t namespaces = job.join_user_namespace >= 0 ? 0 : CLONE_NEWNS;
  if (job.own_user_namespace) namespaces |= CLONE_NEWUSER;
  if (job.own_network) namespaces |= CLONE_NEWNET;

  int pidfd = -1;
  pid_t pid = clone_process(namespaces, job.unified_cgroup, &pidfd);
  if (pid == 0) child_main(layout);
  if (pid < 0) return fail(Errc::unavailable, std::string("sandbox: cannot start a process: ") + std::strerror(errno));
  // slirp4netns can enter the namespaces from here on.
  char told;
  mapped_writer.reset();
  if (job.own_user_namespace && read(mapped_reader.get(), &told, 1) != 1) log_warn("sandbox: its process ended before it had a user namespace");
  if (!job.users.empty()) {
    auto introduced = introduce_users(pid, job, mapped_reader.get(), go_writer.get());
    if (!introduced) {
      ::kill(pid, SIGKILL);
      waitpid(pid, nullptr, 0);
      return std::unexpected(introduced.error());
    }
  }
  return SpawnedJob{pid, UniqueFd(pidfd), std::move(readable)};
}

std::optional<Error> read_failure(const JobProcess& job, int failure_fd) {
  Failure failure;
  if (read(failure_fd, &failure, sizeof failure) != sizeof failure) return std::nullopt;
  return Error{Errc::unavailable, "sandbox: cannot " + describe(job, failure) + ": " + std::strerror(failure.error), ""};
}

}  // namespace mayfly
