#pragma once
// An empty database for tests of what stands above the port. Which one is decided by what the program is linked with:
// mayfly_test_on_sqlite (in memory) or mayfly_test_on_postgres (a schema of MAYFLY_TEST_POSTGRES, one at a time, the same
// migrations each time). Either answers at once, in the caller's turn, so that it goes with virtual time.

#include <memory>
#include <vector>

#include "ports/database.h"

namespace mayfly {

std::unique_ptr<Database> make_test_database(std::vector<Migration> migrations);

}  // namespace mayfly
