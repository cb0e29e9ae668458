// What a megabyte of log costs on its way from a runner's frames through the bus to storage, in cpu of this process: intake,
// bus, aggregator, chunks. Over the adapters of one machine always, over Kafka and S3 where the environment names them
// (scripts/servers). Beside each, its floor: the same bytes put as chunks, or sent through Kafka, and nothing else.

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
#include "adapters/kafka/test_kafka.h"
#include "adapters/memory/bus.h"
#include "adapters/memory/cache.h"
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

constexpr int attempts = 16, repetitions = 3;
constexpr std::size_t request_bytes = 1 << 20;
constexpr std::size_t log_bytes = 8 << 20;                      // of an attempt
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
  world->bus = make_memory_bus(world->clock, {.max_kept_bytes = 192 << 20});
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

Task<void> poll_all(World& world, Subscription& from, std::size_t bytes) {
  for (std::size_t got = 0; got < bytes && world.failure.empty();) {
    auto batch = co_await from.poll(max_aggregate_polled, world.clock.now() + 1s);
    if (!batch) world.failure = batch.error().message;
    if (!batch) co_return;
    for (auto& message : *batch) got += message.payload.size();
    if (!batch->empty()) (void)co_await from.commit(batch->back().position);
  }
}

Task<void> publish_all(World& world, std::string key, const std::vector<std::string>& requests) {
  for (auto& request : requests) {
    std::vector<Message> messages;
    for (auto& piece : split_frames(request)) messages.push_back({.key = key, .payload = std::move(piece), .position = 0});
    auto published = co_await world.bus->publish("bench", std::move(messages));
    if (!published) world.failure = published.error().message;
  }
}

/// The same frames in and out of the bus, and nothing else.
Task<void> bare_bus(World& world, const std::vector<std::string>& requests, Rate& out) {
  auto from = world.bus->subscribe("bench", "bench");
  for (Result<std::vector<Message>> joined = fail(Errc::unavailable, ""); !joined;) joined = co_await from->poll(1, world.clock.now() + 100ms);
  std::size_t bytes = 0;
  for (auto& request : requests) bytes += request.size();
  auto began = world.clock.now();
  auto cpu = cpu_seconds();
  Scope scope(world.io.get_executor());
  scope.spawn(poll_all(world, *from, attempts * bytes));
  for (int i = 0; i < attempts; ++i) scope.spawn(publish_all(world, std::to_string(i), requests));
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
  std::vector<double> a_core, wall, puts, bus;
};

Rates measure(World& world) {
  auto text = what_a_job_says(log_bytes);
  std::vector<std::string> requests;
  for (std::size_t at = 0; at < log_bytes; at += request_bytes)
    requests.push_back(frames_of(std::int64_t(at), std::string_view(text).substr(at, request_bytes), Time{}));
  Rates rates;
  for (int i = 0; i < repetitions && world.failure.empty(); ++i) {
    Rate through, puts, bus;
    world.run(pipeline(world, requests, through));
    world.run(bare_puts(world, text, puts));
    world.run(bare_bus(world, requests, bus));
    rates.a_core.push_back(through.a_core);
    rates.wall.push_back(through.wall);
    rates.puts.push_back(puts.a_core);
    rates.bus.push_back(bus.a_core);
  }
  if (!world.failure.empty()) std::fprintf(stderr, "%s\n", world.failure.c_str());
  return rates;
}

/// Takes everything and keeps nothing: what is left is ours.
class NoBlobs final : public Blobs {
 public:
  Task<Result<std::unique_ptr<BlobWriter>>> create(std::string_view) override { co_return fail(Errc::unsupported, "no store"); }
  Task<Result<BlobInfo>> put(std::string_view key, std::string_view bytes) override { co_return BlobInfo{std::string(key), std::int64_t(bytes.size()), {}}; }
  Task<Result<std::string>> get(std::string_view) override { co_return fail(Errc::not_found, "no store"); }
  Task<Result<std::string>> get_range(std::string_view, std::int64_t, std::int64_t) override { co_return fail(Errc::not_found, "no store"); }
  Task<Result<std::optional<BlobInfo>>> head(std::string_view) override { co_return std::optional<BlobInfo>{}; }
  Task<Result<std::vector<BlobInfo>>> list(std::string_view, std::string_view, std::size_t) override { co_return std::vector<BlobInfo>{}; }
  Task<Result<void>> remove(std::string_view) override { co_return Result<void>{}; }
  std::optional<std::string> signed_url(std::string_view, Time, std::string_view) override { return std::nullopt; }
  std::optional<SignedPut> signed_put(std::string_view, std::int64_t, const Sha256&, Time) override { return std::nullopt; }
};

bool on_one_machine(const Folder& folder) {
  auto world = one_machine(folder);
  auto stored = measure(*world);
  world->blobs = std::make_unique<NoBlobs>();
  auto unstored = measure(*world);
  report("log pipeline, a core", median(stored.a_core), "MB/s", median(stored.puts), "memory bus, SQLite, files without fsync; floor: the same chunks put bare");
  report("log pipeline without its store, a core", median(unstored.a_core), "MB/s", std::nullopt, "intake, memory bus, aggregator");
  report("log pipeline, wall", median(stored.wall), "MB/s", std::nullopt, "one loop, two threads for files");
  return world->failure.empty();
}

/// "http://ACCESS:SECRET@HOST:PORT", as scripts/servers writes it.
S3Options s3_options(std::string_view text, std::string prefix) {
  auto key = text.find("//") + 2, secret = text.find(':', key) + 1, host = text.find('@', secret) + 1;
  return {.endpoint = std::string(text.substr(0, key)) + std::string(text.substr(host)),
          .bucket = "mayfly-bench",
          .access_key = std::string(text.substr(key, secret - 1 - key)),
          .secret_key = std::string(text.substr(secret, host - 1 - secret)),
          .key_prefix = std::move(prefix)};
}

Task<void> remove_all(Blobs& blobs) {
  for (;;) {
    auto left = co_await blobs.list("", "", 1000);
    if (!left || left->empty()) co_return;
    for (auto& info : *left) (void)co_await blobs.remove(info.key);
  }
}

bool over_kafka_and_s3(const Folder& folder, const char* kafka, const char* s3) {
  kafka::TestPrefix prefix(kafka);
  World world;
  world.db = open_sqlite((folder.path / "production.db").string(), schema()).value();
  world.cache = make_memory_cache(world.clock);
  world.bus = make_kafka_bus(world.io.get_executor(), world.clock, {.brokers = kafka, .topic_prefix = prefix.name()}).value();
  world.blobs = make_s3_blobs(world.io.get_executor(), *world.client, world.clock, world.entropy, s3_options(s3, prefix.name() + "/")).value();
  auto rates = measure(world);
  report("log pipeline through Kafka to S3, a core", median(rates.a_core), "MB/s", median(rates.bus), "this process alone; floor: the same frames in and out of Kafka");
  report("chunks put to S3 bare, a core", median(rates.puts), "MB/s", std::nullopt, "the other floor");
  report("log pipeline through Kafka to S3, wall", median(rates.wall), "MB/s", std::nullopt, "broker and store on the same machine");
  world.run(remove_all(*world.blobs));
  return world.failure.empty();
}

}  // namespace

int main() {
  set_log_level(Level::error);
  Folder folder;
  bool good = on_one_machine(folder);
  auto *kafka = std::getenv("MAYFLY_TEST_KAFKA"), *s3 = std::getenv("MAYFLY_TEST_S3");
  if (kafka && s3) good = over_kafka_and_s3(folder, kafka, s3) && good;
  else std::fprintf(stderr, "through Kafka to S3: not measured; scripts/servers up kafka s3 && eval \"$(scripts/servers env)\"\n");
  return good ? 0 : 1;
}
