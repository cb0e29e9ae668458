#pragma once
// The tables, as numbered steps. One text for SQLite and PostgreSQL: text ids, bigint microseconds for instants, bigint 0/1
// for booleans, JSON in text.

#include <vector>

#include "ports/database.h"

namespace mayfly {

const std::vector<Migration>& schema();

}  // namespace mayfly
