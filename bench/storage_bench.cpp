// What a durable write costs on the embedded adapters: one after the other, and many at once.

#include <benchmark/benchmark.h>

#include <boost/asio/io_context.hpp>
#include <filesystem>

#include "adapters/files/blobs.h"
#include "adapters/sqlite/sqlite.h"
#include "async/scope.h"

namespace mayfly {
namespace {

/// A folder on the disk where the bench is run: the temporary one may be memory.
struct Folder {
  std::filesystem::path path = std::filesystem::current_path() / "storage_bench.tmp";
  Folder() {
    std::filesystem::remove_all(path);
    std::filesystem::create_directories(path);
  }
  ~Folder() { std::filesystem::remove_all(path); }
};

/// Runs `once(n)` for n = 0, 1, … of this turn, as many at a time as `workers`.
template <class F>
void run_at_once(int workers, int total, F once) {
  boost::asio::io_context loop;
  Scope scope(loop.get_executor());
  int next = 0;
  auto worker = [&]() -> Task<void> {
    while (next < total) co_await once(next++);
  };
  for (int i = 0; i < workers; ++i) scope.spawn(worker());
  loop.run();
}

constexpr std::string_view insert = "INSERT INTO jobs (id, status, detail) VALUES ($1, 'queued', $2)";
constexpr std::string_view move_on = "UPDATE jobs SET status = 'running' WHERE id = $1 AND status = 'queued'";

/// A unit is a row and its first transition, as a webhook's or a job's is.
void sqlite_units(benchmark::State& state) {
  Folder folder;
  auto db = open_sqlite((folder.path / "bench.db").string(),
                        {{1, "jobs", "CREATE TABLE jobs (id bigint PRIMARY KEY, status text NOT NULL, detail text NOT NULL)"}})
                .value();
  std::int64_t id = 0;
  const std::string detail(200, 'x');
  auto unit = [&](int) -> Task<void> {
    auto mine = ++id;
    std::vector<Statement> statements{expect_one(insert, mine, detail), expect_one(move_on, mine)};
    if (!co_await db->transact(std::move(statements))) state.SkipWithError("a unit failed");
  };
  auto workers = int(state.range(0)), total = workers * 20;
  for (auto _ : state) run_at_once(workers, total, unit);
  state.SetItemsProcessed(state.iterations() * total);
}
BENCHMARK(sqlite_units)->Arg(1)->Arg(8)->Arg(64)->Arg(512)->UseRealTime();

void file_puts(benchmark::State& state) {
  Folder folder;
  auto pool = make_thread_offload(16);
  auto blobs = open_file_blobs((folder.path / "blobs").string(), *pool).value();
  std::int64_t id = 0;
  const std::string bytes(4096, 'x');
  auto put = [&](int) -> Task<void> {
    auto key = "artifacts/" + to_hex(sha256(std::to_string(++id)));
    if (!co_await blobs->put(key, bytes)) state.SkipWithError("a put failed");
  };
  auto workers = int(state.range(0)), total = workers * 20;
  for (auto _ : state) run_at_once(workers, total, put);
  state.SetItemsProcessed(state.iterations() * total);
}
BENCHMARK(file_puts)->Arg(1)->Arg(8)->Arg(64)->UseRealTime();

void file_gets(benchmark::State& state) {
  Folder folder;
  auto pool = make_thread_offload(2);
  auto blobs = open_file_blobs((folder.path / "blobs").string(), *pool, {.fsync = false}).value();
  const std::string bytes(std::size_t(state.range(0)), 'x');
  auto put = [&](int n) -> Task<void> { (void)co_await blobs->put("k/" + std::to_string(n), bytes); };
  auto get = [&](int n) -> Task<void> {
    if (!co_await blobs->get("k/" + std::to_string(n))) state.SkipWithError("a get failed");
  };
  constexpr int total = 16;
  run_at_once(1, total, put);
  for (auto _ : state) run_at_once(8, total, get);
  state.SetItemsProcessed(state.iterations() * total);
  state.SetBytesProcessed(state.iterations() * total * state.range(0));
}
BENCHMARK(file_gets)->Arg(4 << 10)->Arg(8 << 20)->UseRealTime();

}  // namespace
}  // namespace mayfly

BENCHMARK_MAIN();
