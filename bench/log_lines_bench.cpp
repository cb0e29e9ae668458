// Any line of a 1 GiB log that has ended: written as chunks, compacted to one seekable object, read by line number the way
// the API does it. On SQLite and files; with MAYFLY_TEST_S3=http://ACCESS:SECRET@host:port the object is on that S3 server.

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <stdexcept>

#include "adapters/files/blobs.h"
#include "adapters/s3/blobs.h"
#include "adapters/sqlite/sqlite.h"
#include "adapters/system/system_clock.h"
#include "adapters/system/system_entropy.h"
#include "async/scope.h"
#include "bench/report.h"
#include "roles/logs/compactor.h"
#include "roles/logs/log_lines.h"
#include "roles/logs/log_store.h"
#include "roles/schema.h"

namespace {

using namespace mayfly;

constexpr std::int64_t log_bytes = std::int64_t(1) << 30;
constexpr int looks = 300;

struct Folder {
  std::filesystem::path path = std::filesystem::current_path() / "log_lines_bench.tmp";
  Folder() {
    std::filesystem::remove_all(path);
    std::filesystem::create_directories(path);
  }
  ~Folder() { std::filesystem::remove_all(path); }
};

template <class T>
T must(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().message);
  if constexpr (!std::is_void_v<T>) return *std::move(result);
}

S3Options s3_from(std::string_view text) {
  auto key = text.find("//") + 2, secret = text.find(':', key) + 1, host = text.find('@', secret) + 1;
  return {.endpoint = std::string(text.substr(0, key)) + std::string(text.substr(host)), .bucket = "mayfly-bench",
          .access_key = std::string(text.substr(key, secret - 1 - key)), .secret_key = std::string(text.substr(secret, host - 1 - secret))};
}

/// What tests print: a name, a place, a duration.
std::string line_of(std::int64_t n) {
  auto x = std::uint64_t(n) * 0x9E3779B97F4A7C15ULL;
  return "[" + std::to_string(n) + "] test/module_" + std::to_string(x % 977) + "::case_" + std::to_string(x >> 40) + " ... ok (" +
         std::to_string(x % 4999) + " us)\n";
}

struct World {
  explicit World(Loop loop) : clock(loop), client(loop) {
    if (auto* where = std::getenv("MAYFLY_TEST_S3")) blobs = must(make_s3_blobs(loop, client, clock, entropy, s3_from(where)));
    else blobs = must(open_file_blobs((folder.path / "blobs").string(), *pool, {.fsync = false}));
  }

  Folder folder;
  std::unique_ptr<Offload> pool = make_thread_offload(2);
  SystemClock clock;
  SystemEntropy entropy;
  http::Client client;
  std::unique_ptr<Database> db = must(open_sqlite((folder.path / "bench.db").string(), schema()));
  std::unique_ptr<Blobs> blobs;
  AttemptId attempt = make_id<AttemptId>(clock, entropy);
};

Task<std::int64_t> write_log(World& w) {
  LogChunks chunks(*w.db, *w.blobs, w.clock);
  std::int64_t lines = 0, at = 0;
  std::string buffer;
  while (at < log_bytes) {
    while (buffer.size() < log_chunk_bytes) buffer += line_of(lines++);
    must(co_await chunks.store(w.attempt, at, buffer.substr(0, log_chunk_bytes)));
    buffer.erase(0, log_chunk_bytes);
    at += std::int64_t(log_chunk_bytes);
  }
  co_return lines - 1;   // the last is cut
}

Task<void> measure(World& w, benchmark::State& state) {
  auto lines = co_await write_log(w);
  LogCompactor compactor(*w.db, *w.blobs, w.clock, w.entropy);
  auto cpu = bench::thread_cpu_ms();
  if (!must(co_await compactor.compact(w.attempt))) throw std::runtime_error("nothing was compacted");
  state.counters["compaction"] = double(log_bytes) / 1e6 / ((bench::thread_cpu_ms() - cpu) / 1e3);
  LogStore store(*w.db, *w.blobs, w.clock);
  std::mt19937_64 random(1);
  std::vector<double> took;
  for (int i = 0; i < looks; ++i) {
    auto line = std::int64_t(random() % std::uint64_t(lines));
    auto began = std::chrono::steady_clock::now();
    auto text = must(co_await read_lines(store, w.attempt, line, 1));
    took.push_back(std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - began).count());
    if (text != line_of(line)) throw std::runtime_error("line " + std::to_string(line) + " is another");
  }
  state.counters["line_p50"] = bench::quantile(took, 0.5);
  state.counters["line_p99"] = bench::quantile(took, 0.99);
  must(co_await compactor.tidy(w.attempt));
}

void any_line(benchmark::State& state) {
  boost::asio::io_context loop;
  for (auto _ : state) {
    World world(loop.get_executor());
    Scope scope(loop.get_executor());
    scope.spawn(measure(world, state));
    loop.run();
  }
}
BENCHMARK(any_line)->Iterations(1)->Unit(benchmark::kMillisecond);

}  // namespace

int main(int argc, char** argv) {
  const mayfly::bench::Measure measures[] = {
      {"line_p99", "any line of a 1 GiB log", "ms"},
      {"line_p50", "any line of a 1 GiB log p50", "ms"},
      {"compaction", "log compaction, a core", "MB/s"},
  };
  return mayfly::bench::run(argc, argv, measures);
}
