#pragma once
// What pools there are: each keeper says it of its own, people drain and resume them, the scheduler reads what it may use and
// says which of them nobody keeps any more.

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "domain/scheduling/types.h"
#include "ports/database.h"
#include "roles/common/lease.h"

namespace mayfly {

/// The lease of whoever keeps a pool.
std::string pool_lease(std::string_view pool);

struct PoolRecord {
  scheduling::PoolState state;                 // draining: somebody drained it; silent: see silent_since
  std::string executor;                        // "sandbox", "docker", "kubernetes"
  int warm = 0;                                // runners it keeps warm
  std::string keeper;                          // the process that holds its lease; empty: none
  std::int64_t epoch = 0, beat = 0;            // of that lease
  std::optional<std::string> drained_by;
  std::optional<Time> drained_at;
  std::optional<Time> silent_since;            // its keeper was last heard of then

  bool operator==(const PoolRecord&) const = default;
};

/// What a keeper says of its pool; takes the place of what was said before. Whether it is drained stays.
struct PoolSelf {
  scheduling::PoolState state;
  std::string executor = "sandbox";
  int warm = 0;
};
Statement store_pool(const PoolSelf& pool);

/// By name.
Task<Result<std::vector<PoolRecord>>> pool_records(Database& db);
/// Errc::not_found.
Task<Result<PoolRecord>> find_pool(Database& db, std::string name);
/// nullopt: no keeper has ever said what it is.
Task<Result<std::optional<scheduling::PoolState>>> stored_pool(Database& db, std::string name);

/// Each stands or falls with its unit: Errc::conflict when there is no such pool, or it is so already.
Statement drain_pool(std::string_view name, std::string_view who, Time now);
Statement resume_pool(std::string_view name);

Statement mark_silent(std::string_view name, Time since);
Statement mark_heard(std::string_view name);

/// Fails its unit with Errc::conflict once somebody else schedules, or the pool takes no jobs.
Statement may_assign(const Leadership& scheduler, std::string_view pool);

/// nullopt: no keeper has ever said what it is.
Task<Result<std::optional<scheduling::PoolState>>> stored_pool(Database& db, std::string name);

}  // namespace mayfly
