#include "adapters/sqlite/sqlite.h"
#include "support/test_database.h"

namespace mayfly {

std::unique_ptr<Database> make_test_database(std::vector<Migration> migrations) {
  return open_sqlite(":memory:", std::move(migrations), {.inline_mode = true}).value();
}

}  // namespace mayfly
