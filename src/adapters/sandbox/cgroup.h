#pragma once
// Memory, cpu and process limits of one job, on whatever cgroups this machine has: version 1, version 2, or both at once
// (hybrid: limits by version 1, killing and counting by the unified tree).
//
// The tree is mayfly/<attempt>/{runner,job} in every hierarchy: outside the server's own cgroup, so that jobs outlive it.

#include <cstdint>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "adapters/sandbox/unique_fd.h"

namespace mayfly {

/// Where the hierarchies are mounted. An empty path: not there, or not writable.
struct CgroupMounts {
  std::string unified = {};
  std::string memory = {};  // version 1; so the next two
  std::string cpu = {};
  std::string pids = {};
  bool unified_limits = false;  // the unified tree has memory, cpu and pids itself

  static CgroupMounts find();
};

struct CgroupLimits {
  std::int64_t memory_bytes = 0;  // 0: none; so the others
  std::int64_t cpu_milli = 0;
  std::int64_t pids = 0;
};

class JobCgroup final {
 public:
  /// Makes the groups and sets the limits. Where the machine has no such controller the limit is named in missing().
  static Result<JobCgroup> create(const CgroupMounts& mounts, AttemptId attempt, const CgroupLimits& limits);
  ~JobCgroup();
  JobCgroup(JobCgroup&&) = default;
  JobCgroup& operator=(JobCgroup&&) = default;

  const std::vector<std::string>& missing() const { return missing_; }
  int unified_directory() const { return unified_.get(); }
  std::vector<int> task_files() const;
  bool out_of_memory() const;
  /// SIGKILL to every process inside; false if only the caller's own means are left.
  bool kill() const;
  /// Waits (at most `patience`) until nothing is inside, then removes the groups. False if something stayed.
  bool remove(Duration patience = std::chrono::seconds(5));

 private:
  JobCgroup() = default;
  Result<void> limit_by_version_1(const CgroupMounts&, const CgroupLimits&);
  Result<void> limit_by_unified(const CgroupMounts&, const CgroupLimits&);
  void miss_all(const CgroupLimits&);
  Result<std::string> add(const std::string& mount);

  AttemptId attempt_;
  std::vector<std::string> directories_;
  std::vector<std::string> missing_;
  std::string unified_directory_;
  std::string memory_directory_;
  UniqueFd unified_;
  std::vector<UniqueFd> tasks_;
};

/// Of a runner that is gone: kills what is left in mayfly/<attempt> and removes it. True when nothing of it is left.
bool remove_attempt_cgroups(const CgroupMounts& mounts, AttemptId attempt, Duration patience = std::chrono::seconds(5));

/// Removes groups with nobody in them of attempts made before `before`: of servers whose data is gone. (An attempt's id tells its time.)
void remove_abandoned_cgroups(const CgroupMounts& mounts, Time before);

/// mayfly/<attempt>/runner of the unified tree, for the runner to be born in; empty if there is no such tree.
UniqueFd make_runner_cgroup(const CgroupMounts& mounts, AttemptId attempt);

/// SIGKILL to everything in mayfly/<attempt>.
void kill_attempt_cgroups(const CgroupMounts& mounts, AttemptId attempt);

}  // namespace mayfly
