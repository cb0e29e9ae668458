#include "app/server.h"

#include <sys/sysinfo.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <thread>

#include "adapters/files/blobs.h"
#include "adapters/git/git_forge.h"
#include "adapters/memory/bus.h"
#include "adapters/memory/cache.h"
#include "adapters/sandbox/sandbox_executor.h"
#include "adapters/sealed/key.h"
#include "adapters/sealed/secrets.h"
#include "adapters/sqlite/sqlite.h"
#include "adapters/system/system_clock.h"
#include "adapters/system/system_entropy.h"
#include "app/data_dir.h"
#include "async/scope.h"
#include "base/digest.h"
#include "base/log.h"
#include "net/server.h"
#include "roles/builds/planning.h"
#include "roles/common/build_metrics.h"
#include "roles/gateway/gateway.h"
#include "roles/logs/log_store.h"
#include "roles/runners/pool_keeper.h"
#include "roles/scheduler/scheduler.h"
#include "roles/schema.h"

namespace mayfly {
namespace {

constexpr unsigned offload_threads = 4;
constexpr std::string_view pool_name = "local";
constexpr double memory_share = 0.8;               // of the machine's, for jobs
constexpr Duration housekeeping_interval = std::chrono::minutes(1);

scheduling::PoolState this_machine(int slots) {
  auto cores = std::max(1, int(std::thread::hardware_concurrency()));
  auto count = slots > 0 ? slots : cores;
  struct sysinfo info {};
  sysinfo(&info);
  auto memory = double(info.totalram) * double(info.mem_unit) * memory_share;
  // Asked for slots are given, whatever the machine has: the job's own limits hold all the same.
  auto per_slot = std::max(memory, double(count) * double(std::int64_t(1) << 30));
  return {.name = std::string(pool_name), .capacity = {count * 1000LL, std::int64_t(per_slot), count}, .labels = {}, .isolations = {"sandbox"}};
}

/// Programs of ours lie beside this one.
std::string sibling(std::string_view name) {
  std::error_code ec;
  auto self = std::filesystem::read_symlink("/proc/self/exe", ec);
  return (self.parent_path() / name).string();
}

std::string new_key(Entropy& entropy) {
  std::array<std::uint8_t, 32> random;
  entropy.fill(random);
  return to_hex(random);
}

std::string new_token(Entropy& entropy) {
  std::array<std::uint8_t, 32> random;
  entropy.fill(random);
  return token_text({reinterpret_cast<const char*>(random.data()), random.size()});
}

std::string url_of(const std::string& address) { return address.starts_with("unix:") ? address : "http://" + address; }

}  // namespace

struct EmbeddedServer::Parts {
  Loop loop;
  ServerConfig config;
  std::unique_ptr<DataDir> dir;
  SystemEntropy entropy;
  SystemClock clock;
  std::unique_ptr<Offload> offload = make_thread_offload(offload_threads);
  std::unique_ptr<Database> db;
  std::unique_ptr<Bus> bus;
  std::unique_ptr<Cache> cache;
  std::unique_ptr<Blobs> blobs;
  std::unique_ptr<Secrets> secrets;
  std::unique_ptr<GitForge> forge;
  std::unique_ptr<Executor> executor;
  std::string token;
  std::string base_url;

  http::Router router;
  std::unique_ptr<http::Server> http;
  Metrics metrics;
  std::unique_ptr<RunnerIdentity> identity;
  std::unique_ptr<Builds> builds;
  std::unique_ptr<LogStore> logs;
  std::unique_ptr<ArtifactStore> artifacts;
  std::unique_ptr<Attempts> attempts;
  std::unique_ptr<Deliveries> deliveries;
  std::unique_ptr<Scheduler> scheduler;
  std::unique_ptr<PoolKeeper> keeper;
  std::unique_ptr<Access> access;
  std::unique_ptr<Gateway> gateway;

  Parts(Loop l, ServerConfig c) : loop(l), config(std::move(c)), clock(l) {}

  Result<void> open_adapters();
  Result<void> open_roles();
  Task<void> keep_house();
};

Result<void> EmbeddedServer::Parts::open_adapters() {
  TRY_ASSIGN(dir, DataDir::open(config.data_dir));
  TRY_ASSIGN(token, dir->keep("token", new_token(entropy)));
  TRY_ASSIGN(auto runner_key, dir->keep("runner.key", new_key(entropy)));
  identity = std::make_unique<RunnerIdentity>(runner_key);
  TRY_ASSIGN(db, open_sqlite(dir->file("mayfly.db"), schema()));
  bus = make_memory_bus(clock);
  cache = make_memory_cache(clock);
  TRY_ASSIGN(blobs, open_file_blobs(dir->file("blobs"), *offload));
  TRY_ASSIGN(auto sealing, SealingKey::load_or_make(dir->file("sealing.key"), entropy));
  secrets = make_sealed_secrets(*db, clock, entropy, std::move(sealing));
  forge = std::make_unique<GitForge>(*offload, dir->file("mirrors"));
  executor = make_sandbox_executor(loop, *offload, {.data_dir = dir->path(), .runner_program = sibling("mayfly-runner"),
                                                       .image_directories = config.image_directories, .allowed_networks = config.allowed_networks});
  return {};
}

Result<void> EmbeddedServer::Parts::open_roles() {
  http = std::make_unique<http::Server>(loop, router);
  TRY_ASSIGN(auto address, http->listen(config.listen));
  base_url = url_of(address);
  builds = std::make_unique<Builds>(*db, *bus, *cache, clock, entropy);
  builds->on_change([this](const BuildState& state, const Effects& effects) { count_change(metrics, state, effects); });
  logs = std::make_unique<LogStore>(*db, *blobs, clock);
  artifacts = std::make_unique<ArtifactStore>(*db, *blobs, clock, entropy);
  attempts = std::make_unique<Attempts>(*db, *builds, *logs, *artifacts, *secrets, *forge, clock, *identity, base_url);
  attempts->on_first_byte([this](Duration since_start) { metrics.observe("mayfly_start_latency_seconds", since_start, {{"hop", "first_byte"}}); });
  deliveries = std::make_unique<Deliveries>(*db, *builds, *forge, *secrets, clock, entropy, loop);
  deliveries->on_built([this](Duration since_receipt) { metrics.observe("mayfly_start_latency_seconds", since_receipt, {{"hop", "plan"}}); });
  scheduler = std::make_unique<Scheduler>(*db, *builds, *bus, clock, entropy, metrics, loop);
  scheduler->set_pool(this_machine(config.slots));
  keeper = std::make_unique<PoolKeeper>(*db, *builds, *attempts, *executor, *bus, clock, *identity, loop,
                                        PoolOptions{.name = std::string(pool_name), .api_url = base_url});
  access = std::make_unique<Access>(*db, clock, entropy);
  auto ready = [this]() -> Task<Result<void>> {
    constexpr std::string_view probe = "select 1";
    CO_TRY(co_await db->query(statement(probe)));
    co_return Result<void>{};
  };
  gateway = std::make_unique<Gateway>(GatewayParts{
      *db, *cache, *secrets, *forge, clock, entropy, *builds, *deliveries, *attempts, *logs, *artifacts, *access, metrics,
      [this](JobId job) { return scheduler->why(job); }, base_url, std::move(ready)});
  gateway->add_routes(router);
  return {};
}

Task<void> EmbeddedServer::Parts::keep_house() {
  for (;;) {
    auto expired = co_await artifacts->expire();
    if (!expired) log_warn("expired artifacts could not be removed", {{"error", expired.error().message}});
    co_await sleep_for(clock, housekeeping_interval);
  }
}

EmbeddedServer::EmbeddedServer(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
EmbeddedServer::~EmbeddedServer() = default;

Result<std::unique_ptr<EmbeddedServer>> EmbeddedServer::open(Loop loop, ServerConfig config) {
  auto parts = std::make_unique<Parts>(loop, std::move(config));
  TRY(parts->open_adapters());
  TRY(parts->open_roles());
  return std::unique_ptr<EmbeddedServer>(new EmbeddedServer(std::move(parts)));
}

const std::string& EmbeddedServer::base_url() const { return parts_->base_url; }
const std::string& EmbeddedServer::token() const { return parts_->token; }

Task<void> EmbeddedServer::run() {
  auto& p = *parts_;
  auto owner = co_await p.access->ensure_owner(p.token);
  if (!owner) log_warn("the token of the data directory could not be stored", {{"error", owner.error().message}});
  Scope roles(p.loop);
  roles.spawn(p.builds->relay());
  roles.spawn(p.logs->run());
  roles.spawn(p.deliveries->run());
  roles.spawn(p.scheduler->run());
  roles.spawn(p.keeper->run());
  roles.spawn(p.keep_house());
  co_await p.http->serve();
  p.forge->stop();
  roles.cancel();
  co_await roles.join();
}

Task<Result<std::string>> EmbeddedServer::build_once(std::string project, cli::LocalBuild wanted) {
  auto& p = *parts_;
  CO_TRY_ASSIGN(auto made, co_await add_project(*p.db, p.clock, p.entropy, {.name = std::move(project), .repo_url = std::move(wanted.repository)}));
  for (auto& [name, value] : wanted.secrets) {
    CO_TRY(co_await p.secrets->set(made.id, {name, std::move(value)}));
  }
  BuildRequest request{.project = std::move(made), .event = std::move(wanted.event), .only = std::move(wanted.jobs)};
  CO_TRY_ASSIGN(auto planned, co_await plan_build(*p.forge, p.clock, p.entropy, std::move(request)));
  if (!planned.build) co_return fail(Errc::unsupported, "no build: " + planned.why_not, "mayfly plan shows what each event does");
  auto id = planned.build->header.id.str();
  CO_TRY(co_await p.builds->create(std::move(*planned.build), {}));
  co_return id;
}

void EmbeddedServer::stop() {
  parts_->attempts->drain();
  parts_->http->stop();
}

}  // namespace mayfly
