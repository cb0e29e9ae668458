#include "adapters/sqlite/migrate.h"

#include "ports/migrations.h"

namespace mayfly::sqlite {
namespace {

constexpr const char create_table[] =
    "CREATE TABLE IF NOT EXISTS schema_migrations (number bigint PRIMARY KEY, name text NOT NULL, checksum text NOT NULL)";
constexpr std::string_view select_applied = "SELECT number, name, checksum FROM schema_migrations ORDER BY number";
constexpr std::string_view insert_applied = "INSERT INTO schema_migrations (number, name, checksum) VALUES ($1, $2, $3)";

/// Applies the next one; false when there is none.
Result<bool> apply_next(Connection& connection, std::span<const Migration> migrations) {
  TRY(connection.exec(create_table));
  TRY_ASSIGN(auto applied, connection.read({select_applied, {}}));
  TRY_ASSIGN(auto count, check_applied(applied, migrations));
  if (count == migrations.size()) return false;
  auto& next = migrations[count];
  if (auto done = connection.exec(std::string(next.sql).c_str()); !done)
    return fail(done.error().code, title(next) + ": " + done.error().message, done.error().hint);
  TRY(connection.run(statement(insert_applied, next.number, next.name, checksum(next))));
  return true;
}

}  // namespace

Result<void> migrate(Connection& connection, std::span<const Migration> migrations) {
  TRY(check_numbers(migrations));
  for (bool more = true; more;) {
    TRY(connection.exec("BEGIN IMMEDIATE"));
    auto applied = apply_next(connection, migrations);
    if (!applied) {
      if (connection.in_transaction()) (void)connection.exec("ROLLBACK");
      return std::unexpected(std::move(applied).error());
    }
    TRY(connection.exec("COMMIT"));
    more = *applied;
  }
  return {};
}

}  // namespace mayfly::sqlite
