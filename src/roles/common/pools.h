#pragma once
// What pools there are: each keeper says it of its own, the scheduler reads it.

#include <map>
#include <optional>
#include <string>

#include "domain/scheduling/types.h"
#include "ports/database.h"

namespace mayfly {

/// Stands or falls with its unit; takes the place of what was said before.
Statement store_pool(const scheduling::PoolState& pool);

/// By name.
Task<Result<std::map<std::string, scheduling::PoolState>>> stored_pools(Database& db);

/// nullopt: no keeper has ever said what it is.
Task<Result<std::optional<scheduling::PoolState>>> stored_pool(Database& db, std::string name);

}  // namespace mayfly
