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

/// The tables of the program's only schema, emptied: to make them anew would cost each test most of a second.
constexpr const char* empty_all = R"sql(
do $$
declare t regclass;
begin
  for t in select oid from pg_class where relnamespace = current_schema()::regnamespace and relkind in ('r', 'p') and not relispartition
           and relname <> 'schema_migrations' order by oid desc loop
    execute format('delete from %s', t);
  end loop;
end $$)sql";

/// Runs the real one on a loop of its own, which turns only while somebody asks.
class WaitingDatabase final : public Database {
 public:
  WaitingDatabase(const std::string& url, std::vector<Migration> migrations)
      : clock_(loop_.loop()),
        inner_(open_postgres(loop_.loop(), clock_, {.url = url, .readers = 1, .writers = 1}, std::move(migrations)).value()) {
    PostgresSession(url).run(empty_all);
  }

  Task<Result<Rows>> query(Statement statement) override { co_return loop_.run(inner_->query(std::move(statement))); }
  Task<Result<std::vector<Rows>>> transact(std::vector<Statement> unit) override { co_return loop_.run(inner_->transact(std::move(unit))); }

 private:
  TestLoop loop_;
  SystemClock clock_;
  std::unique_ptr<Database> inner_;
};

}  // namespace

std::unique_ptr<Database> make_test_database(std::vector<Migration> migrations) {
  static PostgresSchema schema;
  return std::make_unique<WaitingDatabase>(schema.url(), std::move(migrations));
}

}  // namespace mayfly
