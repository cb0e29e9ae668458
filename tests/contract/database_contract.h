#pragma once
// What every Database must do. To plug one in: link database_contract.cpp, and instantiate DatabaseContract and
// DatabaseReopeningContract with a factory.

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "ports/database.h"
#include "support/run.h"

namespace mayfly::contract {

/// One empty database, for as long as the store lives.
class DatabaseStore {
 public:
  virtual ~DatabaseStore() = default;
  /// Opens it anew with these migrations; what was opened before is closed by then.
  virtual Result<std::unique_ptr<Database>> open(std::vector<Migration> migrations) = 0;
};

struct DatabaseFactory {
  std::string name;
  std::function<std::unique_ptr<DatabaseStore>(TestLoop&)> make;

  friend void PrintTo(const DatabaseFactory& f, std::ostream* out) { *out << f.name; }
};

class DatabaseContract : public testing::TestWithParam<DatabaseFactory> {
 protected:
  void SetUp() override;

  /// Closes the database and opens it again with these.
  Result<void> reopen(std::vector<Migration> migrations);
  Result<Rows> query(Statement s) { return loop.run(db->query(std::move(s))); }
  Result<std::vector<Rows>> transact(std::vector<Statement> unit) { return loop.run(db->transact(std::move(unit))); }
  /// The single number that the query gives; -1 when it fails.
  std::int64_t number(std::string_view sql);

  TestLoop loop;
  std::unique_ptr<DatabaseStore> store;
  std::unique_ptr<Database> db;
};

/// For those that keep anything beyond their own lifetime: all but databases in memory.
class DatabaseReopeningContract : public DatabaseContract {};

}  // namespace mayfly::contract
