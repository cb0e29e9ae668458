// What a megabyte of log costs on its way from a runner's frames through the bus to storage, in cpu of this process: intake,
// bus, aggregator, chunks. Over the adapters of one machine always, over Kafka, S3, Redis and PostgreSQL where the environment
// names them (scripts/servers). Beside each, its floor: the same bytes put as chunks, or sent through Kafka, and nothing else.

#include <sys/resource.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <random>

#include "adapters/files/blobs.h"
#include "adapters/kafka/bus.h"
#include "adapters/memory/bus.h"
#include "adapters/memory/cache.h"
#include "adapters/postgres/postgres.h"
#include "adapters/redis/cache.h"
#include "adapters/s3/blobs.h"
#include "adapters/sqlite/sqlite.h"
#include "adapters/system/system_clock.h"
#include "adapters/system/system_entropy.h"
#include "async/scope.h"
#include "base/log.h"
#include "bench/report.h"
#include "net/http.h"
#include "roles/logs/bus_intake.h"
#include "roles/logs/log_aggregator.h"
#include "roles/schema.h"

namespace {

using namespace mayfly;
using namespace std::chrono_literals;

constexpr int attempts = 16, repetitions = 5;
constexpr std::size_t request_bytes = 1 << 20;
constexpr std::size_t log_bytes = 24 << 20;                     // of an attempt
constexpr std::size_t in_flight_bytes = 4 << 20;                // of an attempt, sent and not durable: what a runner keeps at least

double cpu_seconds() {
  rusage use{};
  ::getrusage(RUSAGE_SELF, &use);
  auto seconds = [](timeval t) { return double(t.tv_sec) + double(t.tv_usec) / 1e6; };
  return seconds(use.ru_utime) + seconds(use.ru_stime);
}

std::string what_a_job_says(std::size_t bytes) {
  std::mt19937 random(1);
  std::string out;
  while (out.size() < bytes) out += "[" + std::to_string(random() % 100) + "%] Building CXX object src/module_" + std::to_string(random() % 1000) + ".cpp.o\n";
  out.resize(bytes);
  return out;
}

/// A folder on the disk where the bench is run.
struct Folder {
  std::filesystem::path path = std::filesystem::current_path() / "logs_bench.tmp";
  Folder() {
    std::filesystem::remove_all(path);
    std::filesystem::create_directories(path);
  }
  ~Folder() { std::filesystem::remove_all(path); }
};

/// Where the log goes, and what stands there.
struct World {
  boost::asio::io_context io;
  SystemClock clock{io.get_executor()};
  SystemEntropy entropy;
  std::unique_ptr<Offload> offload = make_thread_offload(2);
  std::unique_ptr<http::Client> client = std::make_unique<http::Client>(io.get_executor());
  std::unique_ptr<Database> db;
  std::unique_ptr<Blobs> blobs;
  std::unique_ptr<Bus> bus;
  std::unique_ptr<Cache> cache;
  std::string failure;

  void run(Task<void> task) {
    Scope scope(io.get_executor());
    scope.spawn(std::move(task));
    io.restart();
    io.run();
  }
};

std::unique_ptr<World> one_machine(const Folder& folder) {
  auto world = std::make_unique<World>();
  world->db = open_sqlite((folder.path / "bench.db").string(), schema()).value();
  world->blobs = open_file_blobs((folder.path / "blobs").string(), *world->offload, {.fsync = false}).value();
  world->bus = make_memory_bus(world->clock, {.max_kept_bytes = 512 << 20});
  world->cache = make_memory_cache(world->clock);
  return world;
}

struct Rate {
  double a_core = 0, wall = 0;        // MB/s
};

Rate rate(std::size_t bytes, double cpu, Duration wall) { return {double(bytes) / 1e6 / cpu, double(bytes) / 1e6 / (double(wall.count()) / 1e6)}; }

Task<void> send(World& world, BusIntake& intake, AttemptId attempt, const std::vector<std::string>& requests) {
  std::int64_t sent = 0;
  for (auto& request : requests) {
    auto answer = co_await intake.append(attempt, request);
    if (!answer) world.failure = answer.error().message;
    if (!answer) co_return;
    sent = answer->next;
    while ((co_await intake.position(attempt))->durable + std::int64_t(in_flight_bytes) < sent) co_await sleep_for(world.clock, 1ms);
  }
  while (!co_await intake.complete(attempt, sent)) co_await sleep_for(world.clock, 10ms);
}

/// All attempts at once, to their ends.
Task<void> pipeline(World& world, const std::vector<std::string>& requests, Rate& out) {
  BusIntake intake(*world.db, *world.bus, *world.cache, world.clock, world.io.get_executor());
  LogAggregator aggregator(*world.db, *world.blobs, *world.bus, *world.cache, world.clock, world.io.get_executor());
  Scope roles(world.io.get_executor()), runners(world.io.get_executor());
  roles.spawn(intake.run());
  roles.spawn(aggregator.run());
  // The group has its place on the bus once a first log is stored.
  auto first = make_id<AttemptId>(world.clock, world.entropy);
  std::vector<std::string> hello{frames_of(0, "hello", world.clock.now())};
  for (;;) {
    (void)co_await intake.append(first, hello[0]);
    if (co_await intake.complete(first, 5)) break;
  }
  auto began = world.clock.now();
  auto cpu = cpu_seconds();
  for (int i = 0; i < attempts; ++i) runners.spawn(send(world, intake, make_id<AttemptId>(world.clock, world.entropy), requests));
  co_await runners.join();
  out = rate(attempts * log_bytes, cpu_seconds() - cpu, world.clock.now() - began);
  roles.cancel();
  co_await roles.join();
}

Task<void> put_all(World& world, std::string prefix, const std::string& text) {
  for (std::size_t at = 0; at < text.size(); at += log_chunk_bytes) {
    auto put = co_await world.blobs->put(prefix + std::to_string(at), std::string_view(text).substr(at, log_chunk_bytes));
    if (!put) world.failure = put.error().message;
  }
}

Task<void> bare_puts(World& world, const std::string& text, Rate& out) {
  auto began = world.clock.now();
  auto cpu = cpu_seconds();
  Scope scope(world.io.get_executor());
  for (int i = 0; i < attempts; ++i) scope.spawn(put_all(world, "bare/" + make_id<AttemptId>(world.clock, world.entropy).str() + "/", text));
  co_await scope.join();
  out = rate(attempts * log_bytes, cpu_seconds() - cpu, world.clock.now() - began);
}

double median(std::vector<double> samples) { return bench::quantile(samples, 0.5); }

void report(const char* what, double value, const char* unit, std::optional<double> floor, const char* note) {
  std::printf("{\"what\": \"%s\", \"value\": %.4g, \"unit\": \"%s\"", what, value, unit);
  if (floor) std::printf(", \"floor\": %.4g", *floor);
  std::printf(", \"note\": \"%s\"}\n", note);
}

struct Rates {
  std::vector<double> a_core, wall, floor;
};

Rates measure(World& world) {
  auto text = what_a_job_says(log_bytes);
  std::vector<std::string> requests;
  for (std::size_t at = 0; at < log_bytes; at += request_bytes)
    requests.push_back(frames_of(std::int64_t(at), std::string_view(text).substr(at, request_bytes), Time{}));
  Rates rates;
  for (int i = 0; i < repetitions && world.failure.empty(); ++i) {
    Rate through, bare;
    world.run(pipeline(world, requests, through));
    world.run(bare_puts(world, text, bare));
    rates.a_core.push_back(through.a_core);
    rates.wall.push_back(through.wall);
    rates.floor.push_back(bare.a_core);
  }
  if (!world.failure.empty()) std::fprintf(stderr, "%s\n", world.failure.c_str());
  return rates;
}

}  // namespace

int main() {
  set_log_level(Level::error);
  Folder folder;
  auto world = one_machine(folder);
  auto rates = measure(*world);
  report("log pipeline, a core", median(rates.a_core), "MB/s", median(rates.floor), "memory bus, SQLite, files without fsync; floor: the same chunks put bare");
  report("log pipeline, wall", median(rates.wall), "MB/s", std::nullopt, "one loop, two threads for files");
  return world->failure.empty() ? 0 : 1;
}
