#include <gtest/gtest.h>

#include "adapters/postgres/postgres.h"
#include "adapters/system/system_clock.h"
#include "support/postgres.h"
#include "support/run.h"
#include "support/test_database.h"

namespace mayfly {
namespace {

class NeedsPostgres final : public testing::Environment {
 public:
  void SetUp() override {
    if (test_postgres().empty()) GTEST_SKIP() << how_to_have_postgres;
  }
};

[[maybe_unused]] const auto* const needs_postgres = testing::AddGlobalTestEnvironment(new NeedsPostgres);

/// Runs the real one on a loop of its own, which turns only while somebody asks.
class WaitingDatabase final : public Database {
 public:
  explicit WaitingDatabase(std::vector<Migration> migrations)
      : clock_(loop_.loop()),
        inner_(open_postgres(loop_.loop(), clock_, {.url = schema_.url(), .readers = 1, .writers = 1}, std::move(migrations)).value()) {}

  Task<Result<Rows>> query(Statement statement) override { co_return loop_.run(inner_->query(std::move(statement))); }
  Task<Result<std::vector<Rows>>> transact(std::vector<Statement> unit) override { co_return loop_.run(inner_->transact(std::move(unit))); }

 private:
  PostgresSchema schema_;
  TestLoop loop_;
  SystemClock clock_;
  std::unique_ptr<Database> inner_;
};

}  // namespace

std::unique_ptr<Database> make_test_database(std::vector<Migration> migrations) {
  return std::make_unique<WaitingDatabase>(std::move(migrations));
}

}  // namespace mayfly
