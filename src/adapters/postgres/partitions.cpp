#include "adapters/postgres/partitions.h"

#include <algorithm>
#include <cstdio>

#include "async/offload.h"
#include "base/log.h"

namespace mayfly {
namespace postgres {
namespace {

/// Of pg_advisory_xact_lock: "mayparts" in ASCII.
constexpr std::int64_t partitions_lock = 0x6d61797061727473;
/// Beside the present one.
constexpr int made_ahead = 2;
/// Of one table in one go: more waits for the next.
constexpr int max_steps = 500;
/// Ids from a clock that is further ahead stay in the default partition.
constexpr int believed_ahead = 30;
/// Whoever holds a table for longer is not made to wait, nor are those behind us.
constexpr const char* settings = "set client_min_messages = error; set statement_timeout = 0; set lock_timeout = 300";

constexpr const char* try_lock = "select pg_try_advisory_xact_lock($1)";
constexpr const char* select_partitions = R"sql(
select p.oid::regclass::text, pg_get_expr(p.relpartbound, p.oid)
from pg_inherits i join pg_class p on p.oid = i.inhrelid where i.inhparent = $1::text::regclass order by 2)sql";

struct Partition {
  std::string name;
  TimeRange range;
};

struct Partitions {
  std::vector<Partition> ranges;
  std::string rest;  // the default one; empty without

  bool overlap(const TimeRange& range) const {
    return std::ranges::any_of(ranges, [&](auto& p) { return p.range.from < range.until && range.from < p.range.until; });
  }
};

/// "FOR VALUES FROM ('0198…') TO ('0199…')".
std::optional<TimeRange> range_from(std::string_view bound) {
  std::vector<Time> times;
  for (auto at = bound.find('\''); at != bound.npos && times.size() < 2; at = bound.find('\'', bound.find('\'', at + 1) + 1))
    if (auto time = time_of_id(bound.substr(at + 1, 36))) times.push_back(*time);
  if (times.size() != 2) return std::nullopt;
  return TimeRange{times[0], times[1]};
}

std::string name_of(const PartitionedTable& table, Time from) {
  auto text = to_rfc3339(from);  // 2026-01-31T23:59:59Z
  return table.table + "_" + text.substr(0, 4) + text.substr(5, 2) + text.substr(8, 2) + "_" + text.substr(11, 2) + text.substr(14, 2);
}

class Keeper final {
 public:
  Keeper(Session& session, const PartitionedTable& table, Time now) : session_(session), table_(table), now_(now) {}

  /// One step in a transaction of its own; false when there is none left, or somebody else is at it.
  Result<bool> step() {
    TRY(session_.run("begin"));
    auto done = locked_step();
    auto end = session_.run(done && *done ? "commit" : "rollback");
    if (done && !end) return std::unexpected(std::move(end).error());
    return done;
  }

 private:
  Result<bool> locked_step() {
    TRY_ASSIGN(auto locked, session_.run(try_lock, {value(partitions_lock)}));
    if (int_at(locked.rows.at(0), 0) == 0) return false;
    TRY(look());
    for (int i = 0; i <= made_ahead; ++i)
      if (auto range = range_of(now_ + i * table_.width, table_.width); !there_.overlap(range)) return make(range);
    for (auto& partition : there_.ranges)
      if (expired(partition.range)) return drop(partition);
    return empty_the_rest();
  }

  Result<void> look() {
    there_ = {};
    TRY_ASSIGN(auto found, session_.run(select_partitions, {value(table_.table)}));
    for (auto& row : found.rows) {
      if (auto range = range_from(text_at(row, 1))) there_.ranges.push_back({text_at(row, 0), *range});
      else there_.rest = text_at(row, 0);
    }
    return {};
  }

  bool expired(const TimeRange& range) const { return table_.retention > Duration::zero() && range.until <= now_ - table_.retention; }

  std::string between(const TimeRange& range) const {
    return table_.column + " >= '" + first_id_at(range.from) + "' and " + table_.column + " < '" + first_id_at(range.until) + "'";
  }

  Result<bool> make(const TimeRange& range) {
    auto name = name_of(table_, range.from);
    auto script = "create table " + name + " (like " + table_.table + " including all);";
    if (!there_.rest.empty())
      script += "lock table " + there_.rest + " in access exclusive mode; with moved as (delete from " + there_.rest + " where " + between(range) +
                " returning *) insert into " + name + " select * from moved;";
    script += "alter table " + table_.table + " attach partition " + name + " for values from ('" + first_id_at(range.from) + "') to ('" +
              first_id_at(range.until) + "')";
    TRY(session_.run(script));
    return true;
  }

  Result<bool> drop(const Partition& partition) {
    TRY(session_.run("drop table " + partition.name));
    log_info("database: history past its retention is dropped", {{"partition", partition.name}, {"until", to_rfc3339(partition.range.until)}});
    return true;
  }

  /// What came while no partition was there for it.
  Result<bool> empty_the_rest() {
    if (there_.rest.empty()) return false;
    auto believed = first_id_at(now_ + believed_ahead * table_.width);
    TRY_ASSIGN(auto found, session_.run("select coalesce(min(" + table_.column + "), '') from " + there_.rest + " where " + table_.column + " < $1", {value(believed)}));
    auto at = time_of_id(text_at(found.rows.at(0), 0));
    if (!at) return false;
    auto range = range_of(*at, table_.width);
    if (expired(range)) {
      TRY(session_.run("delete from " + there_.rest + " where " + between(range)));
      return true;
    }
    if (there_.overlap(range)) return false;  // of another width, from before: it stays where it is
    return make(range);
  }

  Session& session_;
  const PartitionedTable& table_;
  const Time now_;
  Partitions there_;
};

}  // namespace

TimeRange range_of(Time at, Duration width) {
  auto from = Time{std::chrono::floor<std::chrono::milliseconds>(at.time_since_epoch() / width * width)};
  return {from, from + width};
}

std::string first_id_at(Time at) {
  auto id = to_string(uuid_v7(at, std::array<std::uint8_t, 10>{}));
  return id.substr(0, 14) + "0000-0000-000000000000";
}

std::optional<Time> time_of_id(std::string_view id) {
  auto uuid = parse_uuid(id);
  if (!uuid) return std::nullopt;
  std::int64_t ms = 0;
  for (int i = 0; i < 6; ++i) ms = ms << 8 | uuid->bytes[std::size_t(i)];
  return Time{std::chrono::milliseconds(ms)};
}

Result<void> keep_partitions(Session& session, const std::vector<PartitionedTable>& tables, Time now) {
  TRY(session.run(settings));
  for (auto& table : tables) {
    Keeper keeper(session, table, now);
    for (int i = 0; i < max_steps; ++i) {
      auto more = keeper.step();
      if (!more) return fail(more.error().code, "partitions of " + table.table + ": " + more.error().message, more.error().hint);
      if (!*more) break;
    }
  }
  return {};
}

Result<void> keep_partitions(const PostgresOptions& options, Time now) {
  TRY_ASSIGN(auto session, Session::connect(options.url, nullptr, Session::Clock::now() + options.connect_timeout));
  session.set_deadline(Session::Clock::now() + options.statement_timeout);
  return keep_partitions(session, options.partitions, now);
}

}  // namespace postgres

Task<void> keep_partitions(PostgresOptions options, Clock& clock, Offload& elsewhere) {
  constexpr Duration interval = std::chrono::minutes(10), after_failure = std::chrono::seconds(30);
  for (;;) {
    auto kept = co_await offload(elsewhere, [&] { return postgres::keep_partitions(options, clock.now()); });
    if (!kept) log_warn("database: partitions are not as they should be; inserts go on", {{"why", kept.error().message}});
    co_await sleep_for(clock, kept ? interval : after_failure);
  }
}

}  // namespace mayfly
