#pragma once
// Which system calls a job may make. The filter is a deny-list over what this build of Mayfly knows, and everything newer
// than that is answered ENOSYS, so a kernel update does not widen what jobs reach.

#include "base/result.h"
#include "adapters/sandbox/unique_fd.h"

namespace mayfly {

/// `user_namespaces`: the job may make user, mount, pid, ipc and uts namespaces, and mount and chroot in them. That opens more of the
/// kernel to it than any other job reaches (no network namespace, so no netfilter).
/// The filter as BPF in a memory file, read from its start: for bubblewrap's --seccomp. Errc::internal if libseccomp fails.
Result<UniqueFd> make_seccomp_filter(bool user_namespaces = false);

}  // namespace mayfly
