#include "roles/common/pools.h"

#include "base/json.h"

namespace mayfly {
namespace {

constexpr std::string_view upsert_pool = R"sql(
insert into pools (name, cpu_milli, memory_bytes, slots, labels, isolations, isolation_floor, fork_isolation_floor)
values ($1, $2, $3, $4, $5, $6, $7, $8)
on conflict (name) do update set cpu_milli = excluded.cpu_milli, memory_bytes = excluded.memory_bytes, slots = excluded.slots,
  labels = excluded.labels, isolations = excluded.isolations, isolation_floor = excluded.isolation_floor,
  fork_isolation_floor = excluded.fork_isolation_floor)sql";
constexpr std::string_view select_pools = R"sql(
select name, cpu_milli, memory_bytes, slots, labels, isolations, isolation_floor, fork_isolation_floor from pools order by name)sql";
constexpr std::string_view select_pool = R"sql(
select name, cpu_milli, memory_bytes, slots, labels, isolations, isolation_floor, fork_isolation_floor from pools where name = $1)sql";

std::string list_column(const std::vector<std::string>& words) {
  json::array out;
  for (auto& word : words) out.push_back(json::string(word));
  return json::serialize(out);
}

Result<std::vector<std::string>> list_from_column(const std::string& text) {
  TRY_ASSIGN(auto body, parse_json(text));
  std::vector<std::string> out;
  if (!body.is_array()) return fail(Errc::corrupt, "a pool's labels are no list");
  for (auto& word : body.get_array()) {
    if (!word.is_string()) return fail(Errc::corrupt, "a pool's label is no text");
    out.emplace_back(word.get_string());
  }
  return out;
}

std::vector<std::string> words_of(const std::vector<Isolation>& isolations) {
  std::vector<std::string> out;
  for (auto isolation : isolations) out.emplace_back(to_string(isolation));
  return out;
}

Result<Isolation> isolation_at(const Row& row, std::size_t column) {
  auto isolation = isolation_from(text_at(row, column));
  if (!isolation) return fail(Errc::corrupt, "a pool's floor is no isolation");
  return *isolation;
}

Result<scheduling::PoolState> pool_from(const Row& row) {
  scheduling::PoolState pool{.name = text_at(row, 0), .capacity = {int_at(row, 1), int_at(row, 2), int_at(row, 3)}};
  TRY_ASSIGN(pool.labels, list_from_column(text_at(row, 4)));
  TRY_ASSIGN(auto words, list_from_column(text_at(row, 5)));
  for (auto& word : words)  // one of a newer version is none to us
    if (auto isolation = isolation_from(word)) pool.isolations.push_back(*isolation);
  TRY_ASSIGN(pool.floor, isolation_at(row, 6));
  TRY_ASSIGN(pool.fork_floor, isolation_at(row, 7));
  return pool;
}

}  // namespace

Statement store_pool(const scheduling::PoolState& pool) {
  auto& c = pool.capacity;
  return statement(upsert_pool, pool.name, c.cpu_milli, c.memory_bytes, c.slots, list_column(pool.labels), list_column(words_of(pool.isolations)),
                   to_string(pool.floor), to_string(pool.fork_floor));
}

Task<Result<std::map<std::string, scheduling::PoolState>>> stored_pools(Database& db) {
  CO_TRY_ASSIGN(auto found, co_await db.query(statement(select_pools)));
  std::map<std::string, scheduling::PoolState> out;
  for (auto& row : found.rows) {
    CO_TRY_ASSIGN(auto pool, pool_from(row));
    out.emplace(pool.name, std::move(pool));
  }
  co_return out;
}

Task<Result<std::optional<scheduling::PoolState>>> stored_pool(Database& db, std::string name) {
  CO_TRY_ASSIGN(auto found, co_await db.query(statement(select_pool, name)));
  if (found.rows.empty()) co_return std::nullopt;
  CO_TRY_ASSIGN(auto pool, pool_from(found.rows[0]));
  co_return pool;
}

}  // namespace mayfly
