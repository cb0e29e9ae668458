#include "app/node.h"

#include <sys/sysinfo.h>

#include <algorithm>
#include <thread>

#include "base/log.h"
#include "roles/common/build_metrics.h"
#include "roles/common/pools.h"
#include "roles/runners/pool_keeper.h"
#include "roles/scheduler/scheduler.h"

namespace mayfly {
namespace {

constexpr double memory_share = 0.8;               // of the machine's, for jobs
constexpr Duration housekeeping_interval = std::chrono::minutes(1);
constexpr std::int64_t default_cluster_slots = 100;
constexpr std::int64_t cluster_cpu_per_slot = 4000;
constexpr std::int64_t cluster_memory_per_slot = std::int64_t(8) << 30;
constexpr Duration pool_retry = std::chrono::seconds(5);
constexpr Duration storage_retry = std::chrono::seconds(1);

/// What a cluster has, nobody but its own scheduler knows; slots are what bounds the pool.
scheduling::PoolState state_of(const PoolConfig& pool, const KubernetesOptions& cluster) {
  std::int64_t slots = pool.slots > 0 ? pool.slots : default_cluster_slots;
  auto cpu = cluster.cpu_milli > 0 ? cluster.cpu_milli : slots * cluster_cpu_per_slot;
  auto memory = cluster.memory_bytes > 0 ? cluster.memory_bytes : slots * cluster_memory_per_slot;
  scheduling::PoolState out{.name = pool.name, .capacity = {cpu, memory, slots}, .labels = pool.labels, .isolations = {Isolation::runc},
                            .floor = pool.isolation_floor, .fork_floor = pool.fork_isolation_floor};
  for (auto& [word, runtime_class] : cluster.runtime_classes)
    if (auto isolation = isolation_from(word); isolation && *isolation != Isolation::runc) out.isolations.push_back(*isolation);
  return out;
}

scheduling::PoolState state_of(const PoolConfig& pool) {
  if (pool.kubernetes) return state_of(pool, *pool.kubernetes);
  auto cores = std::max(1, int(std::thread::hardware_concurrency()));
  auto count = pool.slots > 0 ? pool.slots : cores;
  struct sysinfo info {};
  sysinfo(&info);
  auto memory = double(info.totalram) * double(info.mem_unit) * memory_share;
  // Asked for slots are given, whatever the machine has: the job's own limits hold all the same.
  auto per_slot = std::max(memory, double(count) * double(std::int64_t(1) << 30));
  scheduling::PoolState out{.name = pool.name, .capacity = {count * 1000LL, std::int64_t(per_slot), count}, .labels = pool.labels, .isolations = {Isolation::sandbox},
                            .floor = pool.isolation_floor, .fork_floor = pool.fork_isolation_floor};
  if (pool.docker) out.isolations = pool.docker->isolations();
  else if (!pool.runsc.empty()) out.isolations.push_back(Isolation::gvisor);
  return out;
}

/// A floor that cannot be kept is kept all the same: nothing runs.
void say_what_cannot_start(const scheduling::PoolState& pool) {
  for (auto [floor, what] : {std::pair(pool.floor, "no job"), {stronger(pool.floor, pool.fork_floor), "no job of a fork's build"}})
    if (!weakest(pool.isolations, std::nullopt, floor))
      return log_error(std::string(what) + " can start in the pool: it offers nothing as strong as its floor", {{"pool", pool.name}, {"floor", std::string(to_string(floor))}});
}

std::string kind_of(const PoolConfig& pool) {
  if (pool.kubernetes) return "kubernetes";
  return pool.docker ? "docker" : "sandbox";
}

std::string url_of(const std::string& address) { return address.starts_with("unix:") ? address : "http://" + address; }

}  // namespace

Node::Node(std::unique_ptr<Adapters> adapters, NodeOptions options) : adapters_(std::move(adapters)), options_(std::move(options)) {}
Node::~Node() = default;

Result<std::unique_ptr<Node>> Node::open(std::unique_ptr<Adapters> adapters, NodeOptions options) {
  std::unique_ptr<Node> node(new Node(std::move(adapters), std::move(options)));
  TRY(node->open_roles());
  return node;
}

bool Node::has(std::string_view role) const { return std::ranges::find(options_.roles, role) != options_.roles.end(); }

Result<void> Node::open_roles() {
  auto& a = *adapters_;
  http_ = std::make_unique<http::Server>(a.loop, router_);
  TRY_ASSIGN(auto address, http_->listen(options_.listen));
  base_url_ = url_of(address);
  if (options_.public_url.empty()) options_.public_url = base_url_;
  if (options_.runner_url.empty()) options_.runner_url = options_.public_url;
  builds_ = std::make_unique<Builds>(*a.db, *a.bus, *a.cache, a.clock, a.entropy);
  builds_->on_change([this](const BuildState& state, const Effects& effects) { count_change(metrics_, state, effects); });
  open_logs();
  artifacts_ = std::make_unique<ArtifactStore>(*a.db, *a.blobs, a.clock, a.entropy);
  attempts_ = std::make_unique<Attempts>(*a.db, *builds_, log_intake(), *artifacts_, *a.secrets, *a.forge, *a.cache, a.clock, *a.identity, options_.public_url);
  shells_ = std::make_unique<Shells>(*a.db, *builds_, *attempts_, *a.cache, a.clock, a.entropy, a.loop);
  limits_ = std::make_unique<RateLimits>(*a.cache, a.clock, options_.rates);
  deliveries_ = std::make_unique<Deliveries>(*a.db, *builds_, *a.bus, *a.forge, *a.secrets, a.clock, a.entropy, a.loop, options_.name);
  deliveries_->on_built([this](const BuildOrigin& origin) { count_origin(metrics_, origin, adapters_->clock.now()); });
  deliveries_->limit_by(*limits_);
  usage_ = std::make_unique<UsageStore>(*a.db, a.clock);
  reasons_ = std::make_unique<WaitReasons>(*a.cache, a.clock, a.entropy);
  access_ = std::make_unique<Access>(*a.db, a.clock, a.entropy);
  gateway_ = std::make_unique<Gateway>(GatewayParts{*a.db, *a.cache, *a.secrets, *a.forge, a.clock, a.entropy, *builds_, *deliveries_, *attempts_, *shells_, log_reader(),
                                                    *artifacts_, *access_, metrics_, *reasons_, *limits_, options_.public_url, [this] { return checks(); }});
  if (has("gateway")) gateway_->add_routes(router_);
  else gateway_->add_probes(router_);
  return {};
}

void Node::open_logs() {
  auto& a = *adapters_;
  compactor_ = std::make_unique<LogCompactor>(*a.db, *a.blobs, a.clock, a.entropy);
  if (options_.alone) {
    log_store_ = std::make_unique<LogStore>(*a.db, *a.blobs, a.clock);
    return;
  }
  bus_intake_ = std::make_unique<BusIntake>(*a.db, *a.bus, *a.cache, a.clock, a.loop);
  live_logs_ = std::make_unique<LiveLogs>(*a.db, *a.blobs, *a.cache, a.clock, a.loop);
  if (has("logs")) aggregator_ = std::make_unique<LogAggregator>(*a.db, *a.blobs, *a.bus, *a.cache, a.clock, a.loop);
}

LogIntake& Node::log_intake() {
  if (log_store_) return *log_store_;
  return *bus_intake_;
}

LogReader& Node::log_reader() {
  if (log_store_) return *log_store_;
  return *live_logs_;
}

Task<std::vector<Check>> Node::checks() {
  constexpr std::string_view probe = "select 1";
  auto read = co_await adapters_->db->query(statement(probe));
  Result<void> database;
  if (!read) database = std::unexpected(read.error());
  auto bus = co_await adapters_->bus->ping();
  if (bus) bus = co_await builds_->check_outbox();
  co_return std::vector<Check>{{"database", std::move(database)}, {"bus", std::move(bus)}};
}

Task<void> Node::schedule(Leadership leadership) {
  auto& a = *adapters_;
  Scheduler scheduler(*a.db, *builds_, *a.bus, *a.cache, a.clock, a.entropy, metrics_, *usage_, a.loop, std::move(leadership), options_.alone);
  co_await scheduler.run();
}

Task<void> Node::keep_pool(PoolConfig pool, Leadership leadership) {
  auto& a = *adapters_;
  if (!pool.kubernetes && !pool.docker) pool.runsc = co_await find_gvisor(a, pool);
  auto executor = make_executor(a, pool);
  while (!executor) {
    log_error("a pool cannot be kept", {{"pool", pool.name}, {"error", executor.error().message}, {"hint", executor.error().hint}});
    co_await sleep_for(a.clock, pool_retry);
    executor = make_executor(a, pool);
  }
  auto state = state_of(pool);
  say_what_cannot_start(state);
  auto deadline = pool.kubernetes ? pool.kubernetes->start_deadline : start_deadline;
  PoolKeeper keeper(*a.db, *builds_, **executor, *a.bus, *a.cache, a.clock, *a.identity, a.loop,
                    {.pool = std::move(state), .executor = kind_of(pool), .api_url = options_.runner_url, .start_deadline = deadline}, std::move(leadership));
  co_await keeper.run();
}

Task<void> Node::lead(Lease& lease, std::function<Task<void>(Leadership)> work) {
  if (!options_.alone) co_return co_await lease.hold(work);
  for (;;) {
    auto leadership = co_await lease.take();
    if (leadership) co_return co_await work(*leadership);
    log_warn("the database does not answer", {{"error", leadership.error().message}});
    co_await sleep_for(adapters_->clock, storage_retry);
  }
}

Task<void> Node::lead_pool(Lease& lease, PoolConfig pool) {
  std::function<Task<void>(Leadership)> work = [this, pool](Leadership leadership) { return keep_pool(pool, std::move(leadership)); };
  co_await lead(lease, work);
}

Task<void> Node::keep_house() {
  for (;;) {
    auto expired = co_await artifacts_->expire();
    if (!expired) log_warn("expired artifacts could not be removed", {{"error", expired.error().message}});
    co_await sleep_for(adapters_->clock, housekeeping_interval);
  }
}

Task<void> Node::make_owner() {
  for (;;) {
    auto owner = co_await access_->ensure_owner(adapters_->token);
    if (owner) co_return;
    log_warn("the owner's token could not be stored", {{"error", owner.error().message}});
    co_await sleep_for(adapters_->clock, storage_retry);
  }
}

void Node::start_roles(Scope& roles) {
  auto& a = *adapters_;
  auto lease = [&](std::string name) -> Lease& {
    return *leases_.emplace_back(std::make_unique<Lease>(*a.db, a.clock, a.loop, std::move(name), options_.name));
  };
  for (auto& upkeep : a.upkeep) roles.spawn(upkeep());
  roles.spawn(builds_->relay());
  if (has("gateway")) {
    roles.spawn(attempts_->run());
    roles.spawn(shells_->run());
    roles.spawn(reasons_->run());
    if (log_store_) roles.spawn(log_store_->run());
    if (bus_intake_) roles.spawn(bus_intake_->run());
    if (live_logs_) roles.spawn(live_logs_->run());
    if (!has("builds")) roles.spawn(deliveries_->tell_others());
  }
  if (has("builds")) {
    roles.spawn(deliveries_->run());
    roles.spawn(keep_house());
  }
  if (aggregator_) roles.spawn(aggregator_->run());
  if (has("logs")) roles.spawn(compactor_->run());
  if (has("scheduler")) roles.spawn(lead(lease("scheduler"), [this](Leadership leadership) { return schedule(std::move(leadership)); }));
  if (has("runners"))
    for (auto& pool : options_.pools) roles.spawn(lead_pool(lease(pool_lease(pool.name)), pool));
}

Task<void> Node::run() {
  if (has("gateway")) co_await make_owner();
  Scope roles(adapters_->loop);
  start_roles(roles);
  co_await http_->serve();
  adapters_->forge->stop();
  roles.cancel();
  co_await roles.join();
  co_await usage_->flush();
  for (auto& lease : leases_) co_await lease->release();
}

void Node::stop() {
  attempts_->drain();
  http_->stop();
}

}  // namespace mayfly
