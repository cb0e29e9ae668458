#include "roles/common/pools.h"

#include "base/json.h"

namespace mayfly {
namespace {

constexpr std::string_view upsert_pool = R"sql(
insert into pools (name, cpu_milli, memory_bytes, slots, labels, isolations) values ($1, $2, $3, $4, $5, $6)
on conflict (name) do update set cpu_milli = excluded.cpu_milli, memory_bytes = excluded.memory_bytes, slots = excluded.slots,
  labels = excluded.labels, isolations = excluded.isolations)sql";
constexpr std::string_view select_pools = "select name, cpu_milli, memory_bytes, slots, labels, isolations from pools order by name";

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

}  // namespace

Statement store_pool(const scheduling::PoolState& pool) {
  auto& c = pool.capacity;
  return statement(upsert_pool, pool.name, c.cpu_milli, c.memory_bytes, c.slots, list_column(pool.labels), list_column(pool.isolations));
}

Task<Result<std::map<std::string, scheduling::PoolState>>> stored_pools(Database& db) {
  CO_TRY_ASSIGN(auto found, co_await db.query(statement(select_pools)));
  std::map<std::string, scheduling::PoolState> out;
  for (auto& row : found.rows) {
    scheduling::PoolState pool{.name = text_at(row, 0), .capacity = {int_at(row, 1), int_at(row, 2), int_at(row, 3)}};
    CO_TRY_ASSIGN(pool.labels, list_from_column(text_at(row, 4)));
    CO_TRY_ASSIGN(pool.isolations, list_from_column(text_at(row, 5)));
    out.emplace(pool.name, std::move(pool));
  }
  co_return out;
}

}  // namespace mayfly
