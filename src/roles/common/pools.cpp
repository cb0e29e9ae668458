#include "roles/common/pools.h"

#include "base/json.h"

namespace mayfly {
namespace {

constexpr std::string_view upsert_pool = R"sql(
insert into pools (name, cpu_milli, memory_bytes, slots, labels, isolations, isolation_floor, fork_isolation_floor, executor, warm)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
on conflict (name) do update set cpu_milli = excluded.cpu_milli, memory_bytes = excluded.memory_bytes, slots = excluded.slots,
  labels = excluded.labels, isolations = excluded.isolations, isolation_floor = excluded.isolation_floor,
  fork_isolation_floor = excluded.fork_isolation_floor, executor = excluded.executor, warm = excluded.warm, silent_since = null)sql";
constexpr std::string_view select_pools = R"sql(
select pools.name, cpu_milli, memory_bytes, slots, labels, isolations, isolation_floor, fork_isolation_floor, executor, warm,
       drained_by, drained_at, silent_since, holder, epoch, beat
from pools left join leases on leases.name = 'pool:' || pools.name order by pools.name)sql";
constexpr std::string_view select_pool = R"sql(
select pools.name, cpu_milli, memory_bytes, slots, labels, isolations, isolation_floor, fork_isolation_floor, executor, warm,
       drained_by, drained_at, silent_since, holder, epoch, beat
from pools left join leases on leases.name = 'pool:' || pools.name where pools.name = $1)sql";
constexpr std::string_view set_drained = "update pools set drained_by = $2, drained_at = $3 where name = $1 and drained_at is null";
constexpr std::string_view set_resumed = "update pools set drained_by = null, drained_at = null where name = $1 and drained_at is not null";
constexpr std::string_view set_silent = "update pools set silent_since = $2 where name = $1";
constexpr std::string_view set_heard = "update pools set silent_since = null where name = $1";
constexpr std::string_view select_assignable = R"sql(
select 1 from leases, pools where leases.name = $1 and leases.epoch = $2 and pools.name = $3 and drained_at is null and silent_since is null)sql";

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

Result<PoolRecord> pool_from(const Row& row) {
  PoolRecord pool;
  auto& state = pool.state;
  state.name = text_at(row, 0);
  state.capacity = {int_at(row, 1), int_at(row, 2), int_at(row, 3)};
  TRY_ASSIGN(state.labels, list_from_column(text_at(row, 4)));
  TRY_ASSIGN(auto words, list_from_column(text_at(row, 5)));
  for (auto& word : words)  // one of a newer version is none to us
    if (auto isolation = isolation_from(word)) state.isolations.push_back(*isolation);
  TRY_ASSIGN(state.floor, isolation_at(row, 6));
  TRY_ASSIGN(state.fork_floor, isolation_at(row, 7));
  pool.executor = text_at(row, 8);
  pool.warm = int(int_at(row, 9));
  if (!null_at(row, 10)) pool.drained_by = text_at(row, 10);
  pool.drained_at = optional_time_at(row, 11);
  pool.silent_since = optional_time_at(row, 12);
  state.draining = pool.drained_at.has_value();
  state.silent = pool.silent_since.has_value();
  if (null_at(row, 13)) return pool;
  pool.keeper = text_at(row, 13);
  pool.epoch = int_at(row, 14);
  pool.beat = int_at(row, 15);
  return pool;
}

}  // namespace

std::string pool_lease(std::string_view pool) { return "pool:" + std::string(pool); }

Statement store_pool(const PoolSelf& pool) {
  auto& c = pool.state.capacity;
  return statement(upsert_pool, pool.state.name, c.cpu_milli, c.memory_bytes, c.slots, list_column(pool.state.labels),
                   list_column(words_of(pool.state.isolations)), to_string(pool.state.floor), to_string(pool.state.fork_floor), pool.executor, pool.warm);
}

Task<Result<std::vector<PoolRecord>>> pool_records(Database& db) {
  CO_TRY_ASSIGN(auto found, co_await db.query(statement(select_pools)));
  std::vector<PoolRecord> out;
  for (auto& row : found.rows) {
    CO_TRY_ASSIGN(auto pool, pool_from(row));
    out.push_back(std::move(pool));
  }
  co_return out;
}

Task<Result<PoolRecord>> find_pool(Database& db, std::string name) {
  CO_TRY_ASSIGN(auto found, co_await db.query(statement(select_pool, name)));
  if (found.rows.empty()) co_return fail(Errc::not_found, "there is no pool '" + name + "'", "mayfly pool list shows which there are");
  co_return pool_from(found.rows[0]);
}

Task<Result<std::optional<scheduling::PoolState>>> stored_pool(Database& db, std::string name) {
  auto found = co_await find_pool(db, std::move(name));
  if (!found && found.error().code == Errc::not_found) co_return std::nullopt;
  if (!found) co_return std::unexpected(found.error());
  co_return std::move(found->state);
}

Statement drain_pool(std::string_view name, std::string_view who, Time now) { return expect_one(set_drained, name, who, now); }
Statement resume_pool(std::string_view name) { return expect_one(set_resumed, name); }
Statement mark_silent(std::string_view name, Time since) { return statement(set_silent, name, since); }
Statement mark_heard(std::string_view name) { return statement(set_heard, name); }

Statement may_assign(const Leadership& scheduler, std::string_view pool) {
  return expect_one(select_assignable, scheduler.name, scheduler.epoch, pool);
}

}  // namespace mayfly
