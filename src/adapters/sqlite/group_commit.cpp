#include "adapters/sqlite/group_commit.h"

namespace mayfly::sqlite {
namespace {

void fail_all(std::span<Unit* const> units, const Error& error) {
  for (auto* unit : units) unit->result = std::unexpected(error);
}

Result<std::vector<Rows>> run_statements(Connection& connection, const std::vector<Statement>& statements) {
  std::vector<Rows> out;
  out.reserve(statements.size());
  for (auto& statement : statements) {
    TRY_ASSIGN(auto rows, connection.run(statement));
    out.push_back(std::move(rows));
  }
  return out;
}

/// An error only if the physical transaction is lost with it.
Result<void> run_unit(Connection& connection, Unit& unit) {
  TRY(connection.exec("SAVEPOINT unit"));
  unit.result = run_statements(connection, unit.statements);
  if (unit.result) return connection.exec("RELEASE unit");
  // After a full disk or a failed read SQLite may have rolled everything back by itself.
  if (!connection.in_transaction()) return std::unexpected(unit.result.error());
  return connection.exec("ROLLBACK TO unit; RELEASE unit");
}

Result<void> run_all(Connection& connection, std::span<Unit* const> units) {
  TRY(connection.exec("BEGIN IMMEDIATE"));
  for (auto* unit : units) TRY(run_unit(connection, *unit));
  return connection.exec("COMMIT");
}

}  // namespace

void commit_together(Connection& connection, std::span<Unit* const> units) {
  auto done = run_all(connection, units);
  if (done) return;
  if (connection.in_transaction()) (void)connection.exec("ROLLBACK");
  auto& error = done.error();
  // A deferred constraint speaks up only at COMMIT, without a name: find whose it was by committing one at a time.
  if (error.code == Errc::conflict && units.size() > 1) {
    for (auto& unit : units) commit_together(connection, {&unit, 1});
    return;
  }
  fail_all(units, error);
}

}  // namespace mayfly::sqlite
