// What PostgreSQL takes through the Database port, beside what it takes from clients that do one thing a transaction, in the same
// run on the same machine: a server of its own by scripts/servers, fsync on, synchronous_commit on, on the folder that TMPDIR
// names. Webhooks with 8 KB bodies; dispatch (claim, attempt, event, outbox), also beside a transaction that is held open; pages
// over 5,000,000 builds.

#include <libpq-fe.h>

#include <algorithm>
#include <atomic>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <random>
#include <thread>

#include "adapters/postgres/postgres.h"
#include "adapters/system/system_clock.h"
#include "async/scope.h"
#include "base/log.h"
#include "bench/report.h"
#include "roles/gateway/build_list.h"
#include "roles/schema.h"
#include "support/postgres.h"

namespace {

using namespace mayfly;
using namespace std::chrono_literals;
using Steady = std::chrono::steady_clock;

constexpr int repetitions = 3;
constexpr auto measured_for = 4s;
constexpr int webhook_callers = 256;
constexpr int dispatched_at_once = 128;
constexpr int single_connections = 16;   // of the clients that do one thing a transaction
constexpr std::size_t body_bytes = 8 << 10;

constexpr std::string_view insert_delivery =
    "insert into deliveries (id, project_id, provider, provider_id, event, body, received_at, status, detail, tries, not_before)"
    " values ($1, $2, 'github', $3, 'push', $4, $5, 'received', '', 0, 0)";
constexpr std::string_view claim_build = "update builds set sequence = 2, status = 'running' where id = $1 and sequence = 1";
constexpr std::string_view claim_job =
    "update jobs set status = 'assigned', attempt = 1, fence = 1, attempt_id = $2, pool = 'local' where id = $1 and fence = 0";
constexpr std::string_view insert_event = "insert into events (build_id, sequence, part, at, kind, body) values ($1, 2, 0, $2, 'job', $3)";
constexpr std::string_view insert_outbox = "insert into outbox (id, topic, key, payload) values ($1, 'mayfly.assignments', 'local', $2)";

/// Ids that sort by their number, as UUIDv7 do by their time.
std::string id_of(std::int64_t n, char kind) {
  char text[40];
  std::snprintf(text, sizeof text, "01980000-%04x-7%03x-8000-%c%011x", unsigned(n >> 12) & 0xffff, unsigned(n) & 0xfff, kind, unsigned(n));
  return text;
}
/// The same in SQL.
std::string id_in_sql(const std::string& n, char kind) {
  return "'01980000-' || lpad(to_hex((" + n + " >> 12) & 65535), 4, '0') || '-7' || lpad(to_hex(" + n + " & 4095), 3, '0') || '-8000-" + kind + "' || lpad(to_hex(" +
         n + "), 11, '0')";
}

struct Load {
  double rate = 0;  // a second
  std::vector<double> ms;
};

/// One server for the whole program, and a schema with the program's own tables.
struct World {
  PostgresServer server;
  PostgresSchema schema{server.url()};
  boost::asio::io_context io{1};
  SystemClock clock{io.get_executor()};
  std::unique_ptr<Database> db = open_postgres(io.get_executor(), clock, {.url = schema.url()}, mayfly::schema()).value();

  static World& get() {
    static World world;
    return world;
  }
  void run(Task<void> task) {
    Scope scope(io.get_executor());
    scope.spawn(std::move(task));
    while (scope.size() > 0) io.run_one();
  }
  /// `once(n)` over and over by so many callers at a time.
  Load at_once(int callers, std::function<Task<bool>(std::int64_t)> once, Steady::duration time = measured_for) {
    Load load;
    auto began = Steady::now(), end = began + time;
    auto caller = [&]() -> Task<void> {
      while (Steady::now() < end) {
        auto from = Steady::now();
        if (!co_await once(next++)) throw std::runtime_error("a unit failed");
        load.ms.push_back(std::chrono::duration<double, std::milli>(Steady::now() - from).count());
      }
    };
    auto all = [&]() -> Task<void> {
      Scope scope(io.get_executor());
      for (int i = 0; i < callers; ++i) scope.spawn(caller());
      co_await scope.join();
    };
    run(all());
    load.rate = double(load.ms.size()) / std::chrono::duration<double>(Steady::now() - began).count();
    return load;
  }
  /// The floor: connections that wait for each of their statements, in a thread each. `once` gets a number and a connection.
  Load singly(std::function<bool(PGconn*, std::int64_t)> once) {
    Load load;
    std::mutex mutex;
    std::vector<std::thread> threads;
    auto began = Steady::now(), end = began + measured_for;
    for (int i = 0; i < single_connections; ++i)
      threads.emplace_back([&] {
        auto* connection = PQconnectdb(schema.url("single").c_str());
        PQclear(PQexec(connection, "set default_toast_compression = lz4"));  // as the adapter has it
        std::vector<double> mine;
        while (Steady::now() < end) {
          auto from = Steady::now();
          if (!once(connection, next++)) std::fprintf(stderr, "a single transaction failed: %s", PQerrorMessage(connection)), std::abort();
          mine.push_back(std::chrono::duration<double, std::milli>(Steady::now() - from).count());
        }
        PQfinish(connection);
        std::lock_guard lock(mutex);
        load.ms.insert(load.ms.end(), mine.begin(), mine.end());
      });
    for (auto& thread : threads) thread.join();
    load.rate = double(load.ms.size()) / std::chrono::duration<double>(Steady::now() - began).count();
    return load;
  }

  std::atomic<std::int64_t> next = 1;
  std::int64_t jobs_made = 0;
};

/// Prepares it once a connection, under its own address.
bool execute(PGconn* connection, std::string_view sql, const std::vector<std::string>& params, int binary_param = -1) {
  thread_local std::map<std::pair<PGconn*, const char*>, std::string> names;
  auto& name = names[{connection, sql.data()}];
  if (name.empty()) {
    name = "s" + std::to_string(names.size());
    PQclear(PQprepare(connection, name.c_str(), std::string(sql).c_str(), 0, nullptr));
  }
  std::vector<const char*> values;
  std::vector<int> lengths, formats;
  for (std::size_t i = 0; i < params.size(); ++i) values.push_back(params[i].data()), lengths.push_back(int(params[i].size())), formats.push_back(int(i) == binary_param);
  auto* result = PQexecPrepared(connection, name.c_str(), int(params.size()), values.data(), lengths.data(), formats.data(), 0);
  bool ok = PQresultStatus(result) == PGRES_COMMAND_OK;
  PQclear(result);
  return ok;
}

std::string body_of(std::int64_t n) {
  static const std::string alphabet = "abcdefghijklmnopqrstuvwxyz0123456789\":,{}[] /";
  std::mt19937 random{unsigned(n)};
  std::string out = "{\"number\": " + std::to_string(n);
  // Half of it repeats, as JSON does.
  while (out.size() < body_bytes) out += random() % 2 ? "\"repository_url\": \"https://forge.example/" : std::string(20, alphabet[random() % alphabet.size()]) + std::to_string(random());
  out.resize(body_bytes);
  return out;
}

void webhooks(benchmark::State& state) {
  auto& world = World::get();
  std::vector<std::string> bodies;
  for (int i = 0; i < 64; ++i) bodies.push_back(body_of(i));
  auto together = [&](std::int64_t n) -> Task<bool> {
    std::vector<Statement> unit{statement(insert_delivery, id_of(n, 'd'), "project", id_of(n, 'e'), Blob{bodies[std::size_t(n) % 64]}, n)};
    co_return (co_await world.db->transact(std::move(unit))).has_value();
  };
  auto single = [&](PGconn* connection, std::int64_t n) {
    return execute(connection, insert_delivery, {id_of(n, 'd'), "project", id_of(n, 'e'), bodies[std::size_t(n) % 64], std::to_string(n)}, 3);
  };
  for (auto _ : state) {
    auto floor = world.singly(single);
    auto ours = world.at_once(webhook_callers, together);
    state.counters["webhooks_floor"] = floor.rate;
    state.counters["webhooks_floor_p99"] = bench::quantile(floor.ms, 0.99);
    state.counters["webhooks"] = ours.rate;
    state.counters["webhooks_p50"] = bench::quantile(ours.ms, 0.5);
    state.counters["webhooks_p99"] = bench::quantile(ours.ms, 0.99);
    state.counters["webhooks_ratio"] = ours.rate / floor.rate;
  }
}
BENCHMARK(webhooks)->Iterations(1)->Repetitions(repetitions)->Unit(benchmark::kSecond);

/// So many builds of one queued job each, in place of those before.
void make_jobs(World& world, std::int64_t count) {
  auto from = std::to_string(world.next.load()), to = std::to_string(world.next.load() + count);
  PostgresSession(world.schema.url()).run(
      "truncate builds, jobs; insert into builds select " + id_in_sql("n", 'b') + ", 'project', 'org', n, 'queued', 1, 0, 'push', '{}', 'refs/heads/main', 'c0ffee', 'a message', 'ada', 'ci', '[]',"
      " null, null, n, null, null from generate_series(" + from + ", " + to + ") as n;"
      "insert into jobs select " + id_in_sql("n", 'a') + ", " + id_in_sql("n", 'b') + ", 0, 'test', repeat('spec', 100), 'queued', 'none', '', 0, 0, null, '', '', 0, 0, 0, n, null,"
      " null, null, null, '{}', '[]', null, 0, null, null from generate_series(" + from + ", " + to + ") as n; analyze builds; analyze jobs; checkpoint");
}

Load dispatch_together(World& world) {
  static const std::string event(300, 'e'), message(400, 'm');
  return world.at_once(dispatched_at_once, [&](std::int64_t n) -> Task<bool> {
    std::vector<Statement> unit{expect_one(claim_build, id_of(n, 'b')), expect_one(claim_job, id_of(n, 'a'), id_of(n, 'c')), statement(insert_event, id_of(n, 'b'), n, event),
                                statement(insert_outbox, id_of(n, 'f'), message)};
    co_return (co_await world.db->transact(std::move(unit))).has_value();
  });
}

Load dispatch_singly(World& world) {
  make_jobs(world, 60'000);
  static const std::string event(300, 'e'), message(400, 'm');
  return world.singly([](PGconn* c, std::int64_t n) {
    static constexpr std::string_view begin = "begin", commit = "commit";
    return execute(c, begin, {}) && execute(c, claim_build, {id_of(n, 'b')}) && execute(c, claim_job, {id_of(n, 'a'), id_of(n, 'c')}) &&
           execute(c, insert_event, {id_of(n, 'b'), std::to_string(n), event}) && execute(c, insert_outbox, {id_of(n, 'f'), message}) && execute(c, commit, {});
  });
}

void dispatch(benchmark::State& state) {
  auto& world = World::get();
  for (auto _ : state) {
    auto floor = dispatch_singly(world);
    make_jobs(world, 120'000);  // for both: while a transaction is held open the tables cannot be emptied
    auto ours = dispatch_together(world);
    PostgresSession held(world.schema.url("held"));
    held.run("begin isolation level repeatable read; select count(*) from jobs");
    auto beside = dispatch_together(world);
    held.run("commit");
    state.counters["dispatch_floor"] = floor.rate;
    state.counters["dispatch"] = ours.rate;
    state.counters["dispatch_p50"] = bench::quantile(ours.ms, 0.5);
    state.counters["dispatch_p99"] = bench::quantile(ours.ms, 0.99);
    state.counters["dispatch_ratio"] = ours.rate / floor.rate;
    state.counters["dispatch_held"] = beside.rate;
    state.counters["dispatch_held_ratio"] = beside.rate / ours.rate;
  }
}
BENCHMARK(dispatch)->Iterations(1)->Repetitions(repetitions)->Unit(benchmark::kSecond);

constexpr std::int64_t past_builds = 5'000'000;
constexpr int projects = 500;

ProjectId project_of(int n) { return ProjectId::parse(id_of(n, 'c')).value(); }

/// 500 projects, of which every tenth build failed, every hundredth was canceled, and the last 200 are still running.
void make_past(World& world) {
  auto n = std::to_string(past_builds);
  PostgresSession session(world.schema.url());
  session.run("set statement_timeout = 0; set maintenance_work_mem = '512MB'; truncate builds; drop index builds_by_number, builds_by_meaning, builds_by_project, builds_by_status, builds_open;"
              "alter table builds drop constraint builds_pkey; alter table builds set unlogged");
  session.run("insert into builds select " + id_in_sql("n", 'b') + ", " + id_in_sql("(abs(hashint8(n)) % " + std::to_string(projects) + ")", 'c') +
              ", '01980000-0000-7000-8000-000000000000', n, case when n > " + n + " - 200 then 'running' when n % 10 = 0 then 'failed' when n % 100 = 7 then 'canceled' else 'succeeded' end, 5, 0, 'push',"
              " '{\"kind\":\"push\"}', 'refs/heads/main', '0123456789012345678901234567890123456789', 'a message of some length for build ' || n, 'ada', 'ci', '[]', null, null, n * 1000, n * 1000, n * 2000"
              " from generate_series(1::bigint, " + n + ") as n");
  session.run("alter table builds add primary key (id)");
  session.run("create unique index builds_by_number on builds (project_id, number)");
  session.run("create unique index builds_by_meaning on builds (project_id, meaning)");
  session.run("create index builds_by_project on builds (project_id, id)");
  session.run("create index builds_by_status on builds (status, id)");
  session.run("create index builds_open on builds (id) where status in ('queued', 'running')");
  session.run("vacuum (analyze) builds");
}

void pages(benchmark::State& state) {
  auto& world = World::get();
  make_past(world);
  struct Kind {
    std::string name;
    BuildFilter filter;
    bool deep;
  };
  const Kind kinds[] = {{"first", {}, false},
                        {"deep", {}, true},
                        {"project", {.project = project_of(17)}, true},
                        {"status", {.status = BuildStatus::failed}, true},
                        {"rare", {.project = project_of(17), .status = BuildStatus::canceled}, true}};
  std::mt19937_64 random(1);
  for (auto _ : state) {
    std::vector<double> all;
    for (auto& kind : kinds) {
      auto load = world.at_once(2, [&](std::int64_t) -> Task<bool> {
        std::optional<BuildId> before;
        if (kind.deep) before = BuildId::parse(id_of(1 + std::int64_t(random() % past_builds), 'b')).value();
        co_return (co_await list_builds(*world.db, kind.filter, before, 50)).has_value();
      });
      all.insert(all.end(), load.ms.begin(), load.ms.end());
      state.counters["page_" + kind.name + "_p50"] = bench::quantile(load.ms, 0.5);
      state.counters["page_" + kind.name + "_p99"] = bench::quantile(load.ms, 0.99);
    }
    double worst = 0;
    for (auto& kind : kinds) worst = std::max(worst, double(state.counters["page_" + kind.name + "_p99"]));
    state.counters["page_worst_p99"] = worst;
  }
}
BENCHMARK(pages)->Iterations(1)->Unit(benchmark::kSecond);

}  // namespace

int main(int argc, char** argv) {
  set_log_level(Level::error);
  const bench::Measure measures[] = {
      {"webhooks_floor", "webhooks on PostgreSQL, one row a transaction, 16 connections", "/s"},
      {"webhooks_floor_p99", "webhooks on PostgreSQL, one row a transaction p99", "ms"},
      {"webhooks", "webhooks on PostgreSQL, durable, 8 KB, 256 callers", "/s"},
      {"webhooks_p50", "webhooks on PostgreSQL p50", "ms"},
      {"webhooks_p99", "webhooks on PostgreSQL p99", "ms"},
      {"webhooks_ratio", "webhooks on PostgreSQL over one row a transaction", "x"},
      {"dispatch_floor", "dispatch, one job a transaction, 16 connections", "/s"},
      {"dispatch", "dispatch, claim + event + outbox, 128 at once", "/s"},
      {"dispatch_p50", "dispatch p50", "ms"},
      {"dispatch_p99", "dispatch p99", "ms"},
      {"dispatch_ratio", "dispatch over one job a transaction", "x"},
      {"dispatch_held", "dispatch beside a transaction held open", "/s"},
      {"dispatch_held_ratio", "dispatch beside a transaction held open, of its rate without", "x"},
      {"page_first_p99", "the first page of 5,000,000 builds p99", "ms"},
      {"page_deep_p99", "a deep page of 5,000,000 builds p99", "ms"},
      {"page_project_p99", "a deep page of one project's builds p99", "ms"},
      {"page_status_p99", "a deep page of failed builds p99", "ms"},
      {"page_rare_p99", "a deep page of one project's canceled builds p99", "ms"},
      {"page_worst_p99", "a page over 5,000,000 builds p99", "ms"},
  };
  return bench::run(argc, argv, measures);
}
