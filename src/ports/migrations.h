#pragma once
// What adapters of the Database port check alike before they apply migrations.

#include <span>
#include <string>

#include "ports/database.h"

namespace mayfly {

/// "migration 2 (more)".
std::string title(const Migration& migration);
/// Of its text.
std::string checksum(const Migration& migration);

/// Errc::invalid unless they are numbered 1, 2, 3, ….
Result<void> check_numbers(std::span<const Migration> migrations);

/// How many of the list are applied already. `applied`: number, name and checksum, by number. Errc::unsupported: the database is
/// newer than the list; Errc::conflict: a migration that was applied has another text now.
Result<std::size_t> check_applied(const Rows& applied, std::span<const Migration> migrations);

}  // namespace mayfly
