#pragma once
// Pools that nobody keeps any more. A keeper's lease beats while it lives; a pool whose beat stands still is silent, so that
// nothing new starts there, and after a while gone: what it was given and has not begun goes back to the queue, and what runs
// there is watched in the keeper's place. When the keeper comes back it finds that others have its jobs, and stops its own.

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "roles/builds/builds.h"
#include "roles/common/lease.h"
#include "roles/common/pools.h"
#include "roles/runners/heartbeats.h"

namespace mayfly {

inline constexpr Duration pool_silent_after = std::chrono::seconds(5);   // of a beat that does not move
inline constexpr Duration pool_gone_after = std::chrono::seconds(15);

/// Which beats move, on the clock of who watches. Time in which nobody looked says nothing of any pool.
class PoolBeats final {
 public:
  static constexpr Duration longest_gap = std::chrono::seconds(3);   // between two looks

  /// All pools, each as it is now.
  void look(const std::vector<PoolRecord>& pools, Time now);
  /// Since when its beat has stood still.
  Time still_since(const std::string& pool) const { return beats_.at(pool).moved_at; }
  /// Seen to move since the first look.
  bool moves(const std::string& pool) const { return beats_.at(pool).moves; }

 private:
  struct Beat {
    std::int64_t epoch = 0, beat = 0;
    Time moved_at{};
    bool moves = false;
  };
  std::map<std::string, Beat> beats_;
  Time looked_at_{};
};

class PoolWatch final {
 public:
  /// `beats`: keepers hold their leases, as they do unless one process is all there is.
  PoolWatch(Database& db, Builds& builds, Cache& cache, Clock& clock, Leadership scheduler, bool beats);

  /// The pools as they are now. Says in the database which have fallen silent, or are heard again.
  Task<Result<std::vector<PoolRecord>>> look();

  /// Does for the jobs of silent and gone pools what their keepers cannot.
  Task<Result<void>> tend();

 private:
  Task<Result<void>> judge(PoolRecord& pool, Time now);
  Task<void> tend_job(const std::string& pool, LiveJob live, bool gone);

  Database& db_;
  Builds& builds_;
  Clock& clock_;
  Leadership leadership_;
  bool watched_;
  PoolBeats beats_;
  Heartbeats heartbeats_;
  std::map<std::string, Time> silent_;   // since when
};

}  // namespace mayfly
