#include "runner/sandbox/seccomp.h"

#include <linux/filter.h>
#include <linux/netlink.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <memory>
#include <string_view>

namespace mayfly {
namespace {

// mseal; later ones have not been looked at.
constexpr unsigned newest_reviewed_syscall = 462;

// Answered EPERM. ptrace and process_vm_* are not here: LeakSanitizer and debuggers need them, and inside its process
// namespace a job can only trace itself (mayfly-init is not dumpable).
constexpr const char* denied[] = {
    // file systems and namespaces
    "mount", "umount", "umount2", "pivot_root", "chroot", "move_mount", "fsopen", "fsmount", "fsconfig", "fspick", "open_tree",
    "mount_setattr", "setns", "unshare", "open_by_handle_at", "name_to_handle_at", "quotactl", "quotactl_fd", "fanotify_init",
    // the kernel itself
    "kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module", "create_module", "reboot", "swapon", "swapoff",
    "acct", "syslog", "iopl", "ioperm", "vhangup", "nfsservctl", "uselib", "sysfs", "ustat", "_sysctl", "lookup_dcookie",
    // clocks and names
    "clock_settime", "clock_settime64", "clock_adjtime", "settimeofday", "adjtimex", "stime", "sethostname", "setdomainname",
    // where local root exploits live, and no build needs to go
    "bpf", "perf_event_open", "userfaultfd", "keyctl", "add_key", "request_key", "kcmp", "pidfd_getfd", "modify_ldt",
};

// Answered ENOSYS, so that programs take the older way: what a filter cannot look into.
constexpr const char* absent[] = {"clone3", "io_uring_setup", "io_uring_enter", "io_uring_register"};

constexpr std::uint64_t namespace_flags[] = {CLONE_NEWUSER, CLONE_NEWNS,  CLONE_NEWPID, CLONE_NEWNET,
                                             CLONE_NEWIPC,  CLONE_NEWUTS, CLONE_NEWCGROUP};

// PER_LINUX32, ADDR_NO_RANDOMIZE (sanitizers re-run themselves with it), UNAME26.
constexpr std::uint64_t allowed_personality_bits = 0x8 | ADDR_NO_RANDOMIZE | 0x20000;
constexpr std::uint64_t personality_query = 0xffffffff;

constexpr std::uint64_t tioclinux = 0x541c;

struct Release {
  void operator()(void* context) const { seccomp_release(context); }
};
using Context = std::unique_ptr<void, Release>;

scmp_arg_cmp equals(unsigned argument, std::uint64_t value) { return {argument, SCMP_CMP_EQ, value, 0}; }
scmp_arg_cmp differs(unsigned argument, std::uint64_t value) { return {argument, SCMP_CMP_NE, value, 0}; }
scmp_arg_cmp above(unsigned argument, std::uint64_t value) { return {argument, SCMP_CMP_GT, value, 0}; }
scmp_arg_cmp masked(unsigned argument, std::uint64_t mask, std::uint64_t value) { return {argument, SCMP_CMP_MASKED_EQ, mask, value}; }

/// Collects rules; remembers whether libseccomp refused one.
class Rules final {
 public:
  explicit Rules(scmp_filter_ctx context) : context_(context) {}

  template <class... Conditions>
  void refuse(int error, int call, Conditions... conditions) {
    ok_ &= seccomp_rule_add(context_, SCMP_ACT_ERRNO(error), call, sizeof...(conditions), conditions...) == 0;
  }
  void refuse_named(int error, const char* name) {
    if (int call = seccomp_syscall_resolve_name(name); call != __NR_SCMP_ERROR) refuse(error, call);
  }
  bool ok() const { return ok_; }

 private:
  scmp_filter_ctx context_;
  bool ok_ = true;
};

// What rootless builders of images (buildah with chroot isolation) do in a user namespace of their own.
constexpr std::string_view for_user_namespaces[] = {"mount", "umount", "umount2", "pivot_root", "chroot", "unshare", "sethostname"};

void refuse_calls(Rules& rules, bool user_namespaces) {
  for (const char* name : denied)
    if (!user_namespaces || std::ranges::find(for_user_namespaces, std::string_view(name)) == std::end(for_user_namespaces)) rules.refuse_named(EPERM, name);
  // Nobody here has groups, and nobody can be given any: builders that clear them before each command would end at that.
  if (user_namespaces) rules.refuse(0, SCMP_SYS(setgroups));
  for (const char* name : absent) rules.refuse_named(ENOSYS, name);
}

void refuse_arguments(Rules& rules, bool user_namespaces) {
  for (auto flag : namespace_flags) {
    bool builders_need_it = flag == CLONE_NEWUSER || flag == CLONE_NEWNS || flag == CLONE_NEWPID || flag == CLONE_NEWIPC || flag == CLONE_NEWUTS;
    if (user_namespaces && builders_need_it) continue;
    rules.refuse(EPERM, SCMP_SYS(clone), masked(0, flag, flag));
    if (user_namespaces) rules.refuse(EPERM, SCMP_SYS(unshare), masked(0, flag, flag));
  }
  // Keystrokes into a terminal somebody else reads. The kernel looks at 32 bits only, so must we.
  for (std::uint64_t request : {std::uint64_t(TIOCSTI), tioclinux}) rules.refuse(EPERM, SCMP_SYS(ioctl), masked(1, 0xffffffff, request));
}

// Sockets: unix, IPv4, IPv6, and netlink for reading addresses and routes. Compared in 64 bits: rubbish in the upper half
// counts as a large number.
void refuse_sockets(Rules& rules) {
  for (std::uint64_t family = 0; family < AF_NETLINK; ++family)
    if (family != AF_UNIX && family != AF_INET && family != AF_INET6) rules.refuse(EAFNOSUPPORT, SCMP_SYS(socket), equals(0, family));
  rules.refuse(EAFNOSUPPORT, SCMP_SYS(socket), above(0, AF_NETLINK));
  rules.refuse(EAFNOSUPPORT, SCMP_SYS(socket), equals(0, AF_NETLINK), differs(2, NETLINK_ROUTE));
}

void refuse_personalities(Rules& rules) {
  constexpr std::uint64_t top = 0x80000000;
  for (std::uint64_t bit = 1; bit < top; bit <<= 1) {
    if (!(allowed_personality_bits & bit)) rules.refuse(EPERM, SCMP_SYS(personality), masked(0, top | bit, bit));
    if (personality_query & bit) rules.refuse(EPERM, SCMP_SYS(personality), masked(0, top | bit, top));
  }
}

// Goes before libseccomp's program, whose jumps are relative: numbers past the newest reviewed one do not exist.
bool write_newest_check(int fd) {
  const sock_filter check[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, newest_reviewed_syscall, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
  };
  return write(fd, check, sizeof check) == sizeof check;
}

}  // namespace

Result<UniqueFd> make_seccomp_filter(bool user_namespaces) {
  Context context(seccomp_init(SCMP_ACT_ALLOW));
  if (!context) return fail(Errc::internal, "sandbox: libseccomp cannot start a filter");
  Rules rules(context.get());
  refuse_calls(rules, user_namespaces);
  refuse_arguments(rules, user_namespaces);
  refuse_sockets(rules);
  refuse_personalities(rules);
  if (!rules.ok()) return fail(Errc::internal, "sandbox: libseccomp refused a rule of the filter");
  UniqueFd fd(memfd_create("seccomp", MFD_CLOEXEC));
  if (!fd || !write_newest_check(fd.get()) || seccomp_export_bpf(context.get(), fd.get()) != 0 || lseek(fd.get(), 0, SEEK_SET) != 0)
    return fail(Errc::internal, std::string("sandbox: cannot write the seccomp filter: ") + std::strerror(errno));
  return fd;
}

}  // namespace mayfly
