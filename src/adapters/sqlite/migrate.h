#pragma once
// Brings a database file to the program's schema.

#include <span>

#include "adapters/sqlite/connection.h"

namespace mayfly::sqlite {

/// Applies what is missing, one transaction each, safe against another process doing the same. Errc::invalid: the list is
/// not numbered 1, 2, 3, …. Errc::unsupported: the database is newer than the list. Errc::conflict: a migration that was
/// applied has another text now.
Result<void> migrate(Connection& connection, std::span<const Migration> migrations);

}  // namespace mayfly::sqlite
