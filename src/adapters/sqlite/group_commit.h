#pragma once
// Many units, one fsync: each in a savepoint of its own inside one physical transaction.

#include <span>
#include <vector>

#include "adapters/sqlite/connection.h"

namespace mayfly::sqlite {

struct Unit {
  const std::vector<Statement>& statements;
  Result<std::vector<Rows>> result = std::vector<Rows>{};
};

/// Runs and commits the units, and fills each one's result. One that fails leaves no trace and does not touch the others.
void commit_together(Connection& connection, std::span<Unit* const> units);

}  // namespace mayfly::sqlite
