#include "adapters/sqlite/migrate.h"

#include "base/digest.h"

namespace mayfly::sqlite {
namespace {

constexpr const char create_table[] =
    "CREATE TABLE IF NOT EXISTS schema_migrations (number bigint PRIMARY KEY, name text NOT NULL, checksum text NOT NULL)";
constexpr std::string_view select_applied = "SELECT number, name, checksum FROM schema_migrations ORDER BY number";
constexpr std::string_view insert_applied = "INSERT INTO schema_migrations (number, name, checksum) VALUES ($1, $2, $3)";

std::string checksum(const Migration& m) { return to_hex(sha256(m.sql)); }

std::string title(const Migration& m) { return "migration " + std::to_string(m.number) + " (" + std::string(m.name) + ")"; }

Result<void> check_numbers(std::span<const Migration> migrations) {
  for (std::size_t i = 0; i < migrations.size(); ++i)
    if (migrations[i].number != std::int64_t(i) + 1)
      return fail(Errc::invalid, title(migrations[i]) + " stands at place " + std::to_string(i + 1),
                  "number migrations 1, 2, 3, … in order");
  return {};
}

/// How many of the list are applied already.
Result<std::size_t> check_applied(const Rows& applied, std::span<const Migration> migrations) {
  if (applied.rows.size() > migrations.size())
    return fail(Errc::unsupported,
                "the database has " + std::to_string(applied.rows.size()) + " migrations, this program knows " +
                    std::to_string(migrations.size()),
                "start the newer program that wrote it, or restore a backup from before");
  for (std::size_t i = 0; i < applied.rows.size(); ++i) {
    auto& row = applied.rows[i];
    if (int_at(row, 0) != migrations[i].number || text_at(row, 2) != checksum(migrations[i]))
      return fail(Errc::conflict,
                  title(migrations[i]) + " is not what was applied to this database as number " +
                      std::to_string(int_at(row, 0)) + " (" + text_at(row, 1) + ")",
                  "an applied migration never changes: add a new one");
  }
  return applied.rows.size();
}

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
