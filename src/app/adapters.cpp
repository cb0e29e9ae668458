#include "app/adapters.h"

#include <filesystem>

#include "adapters/docker/docker_executor.h"
#include "adapters/files/blobs.h"
#include "adapters/kafka/bus.h"
#include "adapters/kubernetes/executor.h"
#include "adapters/memory/bus.h"
#include "adapters/memory/cache.h"
#include "adapters/postgres/postgres.h"
#include "adapters/redis/cache.h"
#include "adapters/s3/blobs.h"
#include "adapters/sandbox/gvisor_probe.h"
#include "adapters/sandbox/sandbox_executor.h"
#include "adapters/sandbox/tools.h"
#include "adapters/sealed/key.h"
#include "adapters/sealed/secrets.h"
#include "adapters/sqlite/sqlite.h"
#include "base/digest.h"
#include "base/log.h"
#include "roles/gateway/access.h"
#include "roles/schema.h"

namespace mayfly {
namespace {

constexpr unsigned offload_threads = 4;
constexpr Duration history_part = std::chrono::hours(24);        // in a partition of its own
constexpr Duration history_kept = std::chrono::hours(24 * 90);   // what builds did and said; then it is dropped by the day

std::array<std::uint8_t, 32> random_bytes(Entropy& entropy) {
  std::array<std::uint8_t, 32> random;
  entropy.fill(random);
  return random;
}

std::string new_token(Entropy& entropy) {
  auto random = random_bytes(entropy);
  return token_text({reinterpret_cast<const char*>(random.data()), random.size()});
}

/// Programs of ours lie beside this one.
std::string sibling(std::string_view name) {
  std::error_code ec;
  auto self = std::filesystem::read_symlink("/proc/self/exe", ec);
  return (self.parent_path() / name).string();
}

std::unique_ptr<Executor> make_docker_pool(Adapters& adapters, const PoolConfig& pool) {
  DockerExecutorOptions options{.data_dir = pool.data_dir, .pool = pool.name, .runner_program = sibling("mayfly-runner"), .socket = pool.docker->socket,
                                .default_image = pool.docker->default_image, .network = pool.docker->network, .runtimes = {},
                                .allowed_networks = pool.allowed_networks, .log_files = pool.log_files};
  for (auto& [isolation, runtime] : pool.docker->runtimes) options.runtimes.emplace(to_string(isolation), runtime);
  return make_docker_executor(adapters.loop, *adapters.offload, std::move(options));
}

}  // namespace

Result<std::unique_ptr<Adapters>> open_embedded(Loop loop, const std::string& data_dir) {
  auto a = std::make_unique<Adapters>(loop);
  TRY_ASSIGN(a->dir, DataDir::open(data_dir));
  TRY_ASSIGN(a->token, a->dir->keep("token", new_token(a->entropy)));
  TRY_ASSIGN(auto runner_key, a->dir->keep("runner.key", to_hex(random_bytes(a->entropy))));
  a->offload = make_thread_offload(offload_threads);
  a->identity = std::make_unique<RunnerIdentity>(runner_key);
  TRY_ASSIGN(a->db, open_sqlite(a->dir->file("mayfly.db"), schema()));
  a->bus = make_memory_bus(a->clock);
  a->cache = make_memory_cache(a->clock);
  TRY_ASSIGN(a->blobs, open_file_blobs(a->dir->file("blobs"), *a->offload));
  TRY_ASSIGN(auto sealing, SealingKey::load_or_make(a->dir->file("sealing.key"), a->entropy));
  a->secrets = make_sealed_secrets(*a->db, a->clock, a->entropy, std::move(sealing));
  a->forge = std::make_unique<GitForge>(*a->offload, a->dir->file("mirrors"));
  return a;
}

Result<std::unique_ptr<Adapters>> open_production(Loop loop, const NodeConfig& config) {
  auto a = std::make_unique<Adapters>(loop);
  TRY_ASSIGN(a->dir, DataDir::open(config.data_dir));
  a->token = config.owner_token;
  a->offload = make_thread_offload(offload_threads);
  a->identity = std::make_unique<RunnerIdentity>(config.runner_key);
  PostgresOptions database{.url = config.database};
  for (auto [table, column] : {std::pair("events", "build_id"), {"log_chunks", "attempt_id"}})
    database.partitions.push_back({table, column, history_part, history_kept});
  TRY_ASSIGN(a->db, open_postgres(loop, a->clock, database, schema()));
  if (config.has("builds")) a->upkeep.push_back([all = a.get(), database] { return keep_partitions(database, all->clock, *all->offload); });
  TRY_ASSIGN(a->bus, make_kafka_bus(loop, a->clock, {.brokers = config.kafka.brokers, .topic_prefix = config.kafka.topic_prefix,
                                                     .partitions = config.kafka.partitions, .replication = config.kafka.replication,
                                                     .properties = config.kafka.properties}));
  TRY_ASSIGN(a->cache, make_redis_cache(loop, a->clock, {.url = config.redis, .authorities = config.redis_authorities}));
  a->http = std::make_unique<http::Client>(loop);
  auto& s3 = config.s3;
  TRY_ASSIGN(auto blobs, make_s3_blobs(loop, *a->http, a->clock, a->entropy,
                                       {.endpoint = s3.endpoint, .public_endpoint = s3.public_endpoint, .region = s3.region, .bucket = s3.bucket,
                                        .access_key = s3.access_key, .secret_key = s3.secret_key, .key_prefix = s3.prefix, .sweep = config.has("builds"), .expiries = {{"logs/", int(std::chrono::ceil<std::chrono::days>(history_kept).count()) + 1}}}));
  a->upkeep.push_back([store = blobs.get()] { return store->run(); });
  a->blobs = std::move(blobs);
  TRY_ASSIGN(auto sealing, SealingKey::load(config.sealing_key_file));
  a->secrets = make_sealed_secrets(*a->db, a->clock, a->entropy, std::move(sealing));
  a->forge = std::make_unique<GitForge>(*a->offload, a->dir->file("mirrors"));
  return a;
}

Task<std::string> find_gvisor(Adapters& adapters, PoolConfig pool) {
  auto runsc = find_program(pool.runsc.empty() ? "runsc" : pool.runsc);
  if (runsc.empty()) {
    if (!pool.runsc.empty()) log_warn("the pool does not offer gvisor: there is no such program", {{"pool", pool.name}, {"runsc", pool.runsc}});
    co_return runsc;
  }
  auto works = co_await offload(*adapters.offload, [runsc] { return probe_gvisor(runsc); });
  if (works) co_return runsc;
  log_warn("the pool does not offer gvisor: it does not work on this machine", {{"pool", pool.name}, {"runsc", runsc}, {"error", works.error().message}});
  co_return std::string{};
}

Result<std::unique_ptr<Executor>> make_executor(Adapters& adapters, const PoolConfig& pool) {
  if (pool.kubernetes) return make_kubernetes_executor(adapters.loop, adapters.clock, adapters.entropy, *pool.kubernetes);
  if (pool.docker) return make_docker_pool(adapters, pool);
  return make_sandbox_executor(adapters.loop, *adapters.offload,
                               {.data_dir = pool.data_dir, .runner_program = sibling("mayfly-runner"),
                                .image_directories = pool.image_directories, .allowed_networks = pool.allowed_networks,
                                .runsc = pool.runsc, .log_files = pool.log_files, .registries = pool.registries, .user_namespaces = pool.user_namespaces});
}

}  // namespace mayfly
