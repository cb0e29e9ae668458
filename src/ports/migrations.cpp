#include "ports/migrations.h"

#include "base/digest.h"

namespace mayfly {

std::string title(const Migration& m) { return "migration " + std::to_string(m.number) + " (" + std::string(m.name) + ")"; }

std::string checksum(const Migration& m) { return to_hex(sha256(m.sql)); }

Result<void> check_numbers(std::span<const Migration> migrations) {
  for (std::size_t i = 0; i < migrations.size(); ++i)
    if (migrations[i].number != std::int64_t(i) + 1)
      return fail(Errc::invalid, title(migrations[i]) + " stands at place " + std::to_string(i + 1), "number migrations 1, 2, 3, … in order");
  return {};
}

Result<std::size_t> check_applied(const Rows& applied, std::span<const Migration> migrations) {
  if (applied.rows.size() > migrations.size())
    return fail(Errc::unsupported,
                "the database has " + std::to_string(applied.rows.size()) + " migrations, this program knows " + std::to_string(migrations.size()),
                "start the newer program that wrote it, or restore a backup from before");
  for (std::size_t i = 0; i < applied.rows.size(); ++i) {
    auto& row = applied.rows[i];
    if (int_at(row, 0) != migrations[i].number || text_at(row, 2) != checksum(migrations[i]))
      return fail(Errc::conflict,
                  title(migrations[i]) + " is not what was applied to this database as number " + std::to_string(int_at(row, 0)) + " (" +
                      text_at(row, 1) + ")",
                  "an applied migration never changes: add a new one");
  }
  return applied.rows.size();
}

}  // namespace mayfly
