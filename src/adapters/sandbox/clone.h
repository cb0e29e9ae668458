#pragma once
// fork() with what newer kernels add to it: a pidfd, and a cgroup to be born in (moving there later takes a machine-wide
// lock: 8 to 16 ms).

#include <sys/types.h>

#include <cstdint>

namespace mayfly {

/// Like fork(), without its handlers: the child may make async-signal-safe calls only, and plain system calls where glibc
/// would look after threads (setuid and its kin). -1 and errno on failure.
pid_t clone_process(std::uint64_t flags, int cgroup_directory, int* pidfd);

/// For the child: default dispositions, nothing blocked.
void restore_signals();

}  // namespace mayfly
