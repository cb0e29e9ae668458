#include "adapters/postgres/migrate.h"

#include "adapters/postgres/session.h"

namespace mayfly::postgres {
namespace {

/// Of pg_advisory_xact_lock: "mayfly" in ASCII.
constexpr std::int64_t schema_lock = 0x6d6179666c79;

constexpr const char* lock_and_look = "select pg_advisory_xact_lock($1)";
constexpr const char* create_table =
    "create table if not exists schema_migrations (number bigint primary key, name text not null, checksum text not null)";
constexpr const char* select_applied = "select number, name, checksum from schema_migrations where number > $1 order by number";
constexpr const char* insert_applied = "insert into schema_migrations (number, name, checksum) values ($1, $2, $3)";

constexpr const char* compare_by_bytes = R"sql(
do $$
declare t record;
begin
  for t in
    select c.oid::regclass as name, string_agg(format('alter column %I type text collate "C"', a.attname), ', ' order by a.attnum) as changes
    from pg_attribute a join pg_class c on c.oid = a.attrelid
    where c.relnamespace = current_schema()::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
      and a.attnum > 0 and not a.attisdropped and a.atttypid = 'text'::regtype and a.attcollation <> '"C"'::regcollation
    group by c.oid
  loop
    execute format('alter table %s %s', t.name, t.changes);
  end loop;
end $$)sql";

/// Applies the next one; false when there is none.
Result<bool> apply_next(Session& session, std::span<const Migration> migrations) {
  TRY(session.run(lock_and_look, {value(schema_lock)}));
  TRY(session.run(create_table));
  TRY_ASSIGN(auto applied, session.run(select_applied, {value(0)}));
  TRY_ASSIGN(auto count, check_applied(applied, migrations));
  if (count == migrations.size()) return false;
  auto& next = migrations[count];
  auto done = session.run(opened(next.sql));
  if (done) done = session.run(compare_by_bytes);
  if (!done) return fail(done.error().code, title(next) + ": " + done.error().message, done.error().hint);
  TRY(session.run(insert_applied, {value(next.number), value(next.name), value(checksum(next))}));
  return true;
}

}  // namespace

std::string opened(std::string_view sql) {
  constexpr std::string_view open = "/*postgres:", close = "*/";
  std::string out;
  for (;;) {
    auto at = sql.find(open);
    out += sql.substr(0, at);
    if (at == sql.npos) return out;
    sql.remove_prefix(at + open.size());
    auto end = sql.find(close);
    out += sql.substr(0, end);
    sql.remove_prefix(end == sql.npos ? sql.size() : end + close.size());
  }
}

Result<void> migrate(const std::string& url, std::chrono::milliseconds connect_timeout, std::span<const Migration> migrations) {
  TRY(check_numbers(migrations));
  TRY_ASSIGN(auto session, Session::connect(url, nullptr, Session::Clock::now() + connect_timeout));
  session.set_deadline(Session::Clock::time_point::max());  // a migration, or another process's, may take long
  TRY(session.run("set client_min_messages = error; set statement_timeout = 0; set lock_timeout = 0"));
  for (bool more = true; more;) {
    TRY(session.run("begin"));
    auto applied = apply_next(session, migrations);
    if (!applied) return std::unexpected(std::move(applied).error());
    TRY(session.run("commit"));
    more = *applied;
  }
  return {};
}

}  // namespace mayfly::postgres
