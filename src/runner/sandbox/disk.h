#pragma once
// The attempt's own disk: workspace, /tmp and everything the job writes over the host's root, in one file system of the
// size the job may use.
//
// As root it is an ext4 in a sparse file on a loop device: about 1 ms to have, a limit the kernel keeps, and gone in one
// unlink instead of a walk over a million files. It has no journal and no barriers, for nobody reads it after a crash. The
// file's name is removed while it is mounted, so a killed runner leaves nothing. Unprivileged, or without loop devices, it
// is a plain directory and the limit does not hold.

#include <cstdint>
#include <string>

#include "base/result.h"

namespace mayfly {

class AttemptDisk final {
 public:
  /// Makes and mounts `attempt_dir`/disk. `bytes` (0: no limit) is rounded up to one of eight steps per power of two, at
  /// least 16 MiB, so that few formatted templates in `cache_dir` serve all jobs. A limit this machine cannot keep is not
  /// an error: see limited().
  static Result<AttemptDisk> create(const std::string& attempt_dir, const std::string& cache_dir, std::int64_t bytes);
  ~AttemptDisk();
  AttemptDisk(AttemptDisk&& other) noexcept;
  AttemptDisk& operator=(AttemptDisk&&) = delete;

  const std::string& path() const { return path_; }
  bool limited() const { return mounted_; }
  const std::string& why_unlimited() const { return why_; }
  /// True once less than 1 % of it (at most 1 MiB) or no inode is free. False for a plain directory.
  bool full() const;

 private:
  AttemptDisk() = default;

  std::string path_;
  std::string why_;
  bool mounted_ = false;
};

/// The size a limit of `bytes` is rounded up to.
std::int64_t disk_step(std::int64_t bytes);

}  // namespace mayfly
