#pragma once
// Brings a database to the program's schema, in whichever process comes first.

#include <chrono>
#include <span>
#include <string>

#include "ports/migrations.h"

namespace mayfly::postgres {

/// A text for both databases as PostgreSQL reads it: what stands in /*postgres: … */ counts.
std::string opened(std::string_view sql);

/// Applies what is missing, each in a transaction of its own, under a lock that all processes share. Afterwards every text
/// column compares by its bytes, as in SQLite, whatever the database's own collation. Errc as ports/migrations.h;
/// Errc::unavailable: no server lets us in.
Result<void> migrate(const std::string& url, std::chrono::milliseconds connect_timeout, std::span<const Migration> migrations);

}  // namespace mayfly::postgres
