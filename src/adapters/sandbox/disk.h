#pragma once
// The attempt's own disk: workspace, /tmp and everything the job writes over the host's root, in one file system of the
// size the job may use.
//
// As root it is an ext4 in a sparse file on a loop device: a limit the kernel keeps, and gone in one unlink instead of a
// walk over a million files. It has no journal and no barriers, for nobody reads it after a crash. The file's name is
// removed while it is attached, so a killed process leaves nothing. Unprivileged, or without loop devices, it is a plain
// directory and the limit does not hold.
//
// Making one takes a millisecond, or as long as the host's disk is busy with others; so an executor keeps a few ready
// (SpareDisks), mounted nowhere until an attempt takes one.

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "adapters/sandbox/unique_fd.h"
#include "base/result.h"

namespace mayfly {

/// The size a limit of `bytes` is rounded up to: one of eight steps per power of two, at least 16 MiB, so that few formatted
/// templates serve all jobs.
std::int64_t disk_step(std::int64_t bytes);

/// A mounted file system that has no place yet; it goes with the descriptor. Templates are kept in `cache_dir`. Root only.
Result<UniqueFd> make_detached_disk(const std::string& cache_dir, std::int64_t bytes);

/// Gives a detached disk its place. Async-signal-safe; false and errno on failure.
bool attach_disk(int disk, const char* directory);

class AttemptDisk final {
 public:
  /// `attempt_dir`/disk: the one that is attached there already, if it is of disk_step(bytes) (0: no limit), else a new one.
  /// A limit this machine cannot keep is not an error: see limited().
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

/// A few detached disks of the size asked for last. Any thread may call.
class SpareDisks final {
 public:
  SpareDisks(std::string cache_dir, std::size_t most) : cache_dir_(std::move(cache_dir)), most_(most) {}

  /// None of that size, or none left: nothing.
  UniqueFd take(std::int64_t bytes);
  /// Makes up to `most` disks for `bytes`, and gives up those of another size. Blocks; one caller works at a time, and others
  /// return at once.
  void refill(std::int64_t bytes);

 private:
  bool add(UniqueFd disk, std::int64_t size);

  const std::string cache_dir_;
  const std::size_t most_;
  std::mutex mutex_;
  std::int64_t size_ = 0;
  std::vector<UniqueFd> disks_;
  std::mutex working_;
};

}  // namespace mayfly
