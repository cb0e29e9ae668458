#pragma once
// What a job sees as its machine: which directories of the host (or of an image), what is written over them, and what is
// put there for it. Everything it may see is named; the rest of the host is simply not there.

#include <string>
#include <vector>

#include "base/result.h"
#include "runner/sandbox/job_process.h"

namespace mayfly {

inline constexpr const char* job_user = "mayfly";
inline constexpr const char* job_home = "/home/mayfly";
inline constexpr const char* job_workspace = "/workspace";
inline constexpr const char* job_init = "/run/mayfly/init";
inline constexpr uid_t job_uid_inside = 1000;
inline constexpr std::size_t max_account_file_bytes = 1 << 20;  // of an image's /etc/passwd and /etc/group

struct RootRequest {
  std::string disk;                 // the attempt's own (see disk.h); the root is composed in it
  std::string image_root;           // an unpacked image; empty: the host's own directories
  std::string init;                 // mayfly-init, shown read-only at job_init
  std::string resolv_conf;
  std::vector<std::string> hidden;  // absolute host paths never to show, even below a directory that is shown; outer ones first
  Identity owner;                   // of what the job may write
  uid_t uid_inside = job_uid_inside;       // the job's name for it
  std::string host_name = job_user;
  std::vector<std::string> beside = {};    // names of who shares the network: each is 127.0.0.1
  std::vector<std::string> writable = {};  // directories of the image besides, relative, no ".."
  bool privileged = true;           // false: composed in a user namespace, where chown is impossible and needless
};

struct ComposedRoot {
  std::string path;                 // where the root is once `mounts` are made
  std::string workspace;            // the workspace on the host
  std::vector<MountStep> mounts;
};

/// Makes directories and files below request.disk; mounts nothing itself. A directory the job may write into is owned by it and
/// merged over the read-only original, so `make install` works; files keep their owners, so what only root may read stays so.
Result<ComposedRoot> compose_root(const RootRequest& request);

}  // namespace mayfly
