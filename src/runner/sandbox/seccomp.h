#pragma once
// Which system calls a job may make. The filter is a deny-list over what this build of Mayfly knows, and everything newer
// than that is answered ENOSYS, so a kernel update does not widen what jobs reach.

#include "base/result.h"
#include "adapters/sandbox/unique_fd.h"

namespace mayfly {

/// The filter as BPF in a memory file, read from its start: for bubblewrap's --seccomp. Errc::internal if libseccomp fails.
Result<UniqueFd> make_seccomp_filter();

}  // namespace mayfly
