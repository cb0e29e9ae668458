#include "simulation/world.h"

#include <algorithm>
#include <set>

#include "adapters/memory/bus.h"
#include "adapters/memory/cache.h"
#include "adapters/sealed/key.h"
#include "adapters/sealed/secrets.h"
#include "base/digest.h"
#include "roles/builds/deliveries.h"
#include "roles/logs/bus_intake.h"
#include "roles/logs/log_aggregator.h"
#include "roles/logs/log_store.h"
#include "roles/runners/pool_keeper.h"
#include "roles/scheduler/scheduler.h"
#include "roles/schema.h"
#include "simulation/memory_blobs.h"
#include "simulation/oracle.h"
#include "support/run.h"
#include "support/seeded_entropy.h"
#include "support/temp_dir.h"
#include "support/test_database.h"
#include "support/virtual_clock.h"

namespace mayfly::simulation {
namespace {

using namespace std::chrono_literals;

constexpr std::int64_t slots = 3;
constexpr std::string_view webhook_secret = "simulated";
constexpr std::string_view pipeline = R"(version: 1
jobs:
  first: {run: ok}
  left: {needs: [first], run: flaky, retry: 1}
  right: {needs: [first], run: ok}
  tolerated: {needs: [first], run: fail, allow_failure: true}
  last: {needs: [left, right, tolerated], run: ok}
  long: {run: slow}
)";

std::string payload(int n) {
  char sha[41];
  std::snprintf(sha, sizeof sha, "%040x", n + 1);
  return std::string(R"({"ref":"refs/heads/main","before":"0000000000000000000000000000000000000000","after":")") + sha +
         R"(","created":false,"deleted":false,"repository":{"full_name":"acme/web","clone_url":"/srv/web.git"},"head_commit":{"id":")" + sha +
         R"(","message":"m","author":{"name":"a","email":"a@example.com"}},"pusher":{"name":"a"},"sender":{"login":"a"}})";
}

/// One life of the server. After its death it is kept: what was under way in it may still reach the database, as a write
/// sent just before a kill does.
struct Node {
  std::unique_ptr<Bus> bus;
  std::unique_ptr<Cache> cache;
  FaultyDatabase db;
  Builds builds;
  LogStore logs;
  BusIntake intake;              // in place of `logs`, where they go by the bus
  LogAggregator aggregator;
  ArtifactStore artifacts;
  Attempts attempts;
  RateLimits limits;
  Deliveries deliveries;
  Metrics metrics;
  UsageStore usage;
  Scheduler scheduler;
  PoolKeeper keeper;
  Scope roles;

  Node(Loop loop, Clock& clock, Entropy& entropy, Chance& chance, Database& truth, Blobs& blobs, Secrets& secrets, Forge& forge,
       Executor& executor, const RunnerIdentity& identity, std::int64_t epoch, bool logs_by_bus)
      : bus(std::make_unique<FaultyBus>(make_memory_bus(clock), clock, chance)), cache(make_memory_cache(clock)), db(truth, clock, chance),
        builds(db, *bus, *cache, clock, entropy), logs(db, blobs, clock), intake(db, *bus, *cache, clock, loop),
        aggregator(db, blobs, *bus, *cache, clock, loop), artifacts(db, blobs, clock, entropy),
        attempts(db, builds, logs_by_bus ? static_cast<LogIntake&>(intake) : logs, artifacts, secrets, forge, *cache, clock, identity, "http://simulated"),
        limits(*cache, clock, {.deliveries = Rate{2, std::chrono::seconds{2}}}), deliveries(db, builds, *bus, forge, secrets, clock, entropy, loop, "simulated"), usage(db, clock),
        scheduler(db, builds, *bus, *cache, clock, entropy, metrics, usage, loop, {"scheduler", epoch}, true),
        keeper(db, builds, executor, *bus, *cache, clock, identity, loop,
               {.pool = {.name = "local", .capacity = {slots * 1000, slots << 30, slots}, .isolations = {Isolation::sandbox}}, .api_url = "http://simulated"},
               {"pool:local", epoch}),
        roles(loop) {
    deliveries.limit_by(limits);
    roles.spawn(builds.relay());
    roles.spawn(logs.run());
    if (logs_by_bus) roles.spawn(intake.run());
    if (logs_by_bus) roles.spawn(aggregator.run());
    roles.spawn(deliveries.run());
    roles.spawn(scheduler.run());
    roles.spawn(keeper.run());
  }
};

class World {
 public:
  World(std::uint64_t seed, const Faults& faults)
      : logs_by_bus_(faults.logs_by_bus), chance_(seed, faults), entropy_(seed + 1), loop_(clock_), truth_(make_test_database(schema())),
        secrets_(make_sealed_secrets(*truth_, clock_, entropy_, SealingKey::load_or_make(dir_.path() / "key", entropy_).value())),
        forge_(std::string(pipeline), clock_, chance_), identity_("key"),
        executor_(loop_.loop(), clock_, chance_, [this] { return node_ ? &node_->attempts : nullptr; }),
        oracle_(*truth_, clock_), outside_(loop_.loop()) {}

  Report run(int deliveries) {
    loop_.run(story(deliveries));
    Report report;
    report.violations = oracle_.violations();
    report.trace = oracle_.trace();
    report.crashes = crashes_;
    report.builds = int(oracle_.builds());
    report.attempts = int(executor_.deeds().begun.size());
    return report;
  }

 private:
  Task<void> start() {
    std::int64_t epoch = 0;
    for (auto name : {"scheduler", "pool:local"}) {
      Lease lease(*truth_, clock_, loop_.loop(), name, "simulated");
      epoch = (co_await lease.take())->epoch;
    }
    node_ = std::make_shared<Node>(loop_.loop(), clock_, entropy_, chance_, *truth_, blobs_, *secrets_, forge_, executor_, identity_, epoch, logs_by_bus_);
  }

  Task<void> crash() {
    if (!node_) co_return;
    ++crashes_;
    auto dead = std::move(node_);
    node_.reset();
    executor_.deafen();
    graveyard_.push_back(dead);
    dead->roles.cancel();
    co_await dead->roles.join();
  }

  Task<void> crash_forever() {
    auto every = chance_.faults().crash_every;
    while (every > Duration{} && chance_.faults().crash_every > Duration{}) {
      co_await sleep_for(clock_, chance_.up_to(2 * every));
      if (chance_.faults().crash_every == Duration{}) co_return;
      co_await crash();
      co_await sleep_for(clock_, chance_.up_to(2s));
      if (!node_) co_await start();
    }
  }

  /// A forge that sends again until it is told 202.
  Task<void> deliver(int n, std::string name) {
    co_await sleep_for(clock_, chance_.up_to(60s));
    auto body = payload(n);
    auto mac = hmac_sha256(webhook_secret, body);
    for (;;) {
      if (auto node = node_) {
        auto receipt = co_await node->deliveries.receive({"push", name, "sha256=" + to_hex(mac), "application/json", body});
        bool told = node == node_ && !chance_.happens(chance_.faults().answer_lost);
        if (receipt && told) {
          oracle_.acknowledged(receipt->delivery, n);
          co_return;
        }
      }
      co_await sleep_for(clock_, 1s);
    }
  }

  Task<void> cancel_some() {
    for (int i = 0; i < 2; ++i) {
      co_await sleep_for(clock_, chance_.up_to(40s));
      auto build = oracle_.some_build(chance_.below(1000));
      if (auto node = node_; node && build) (void)co_await node->builds.change(*build, CancelBuild{"chance"});
    }
  }

  Task<void> watch() {
    while (!over_) {
      co_await oracle_.look();
      co_await sleep_for(clock_, 250ms);
    }
  }

  Task<void> story(int deliveries) {
    auto project = co_await add_project(*truth_, clock_, entropy_, {.name = "web", .repo_url = "/srv/web.git"});
    (void)co_await secrets_->set(project->id, {std::string(webhook_secret_name), std::string(webhook_secret)});
    co_await start();
    Scope forge(loop_.loop());
    for (int n = 0; n < deliveries; ++n) {
      forge.spawn(deliver(n, "d" + std::to_string(n)));
      if (chance_.below(3) == 0) forge.spawn(deliver(n, "d" + std::to_string(n)));          // the same delivery again
      if (chance_.below(3) == 0) forge.spawn(deliver(n, "again" + std::to_string(n)));      // the same meaning by another name
    }
    outside_.spawn(watch());
    outside_.spawn(crash_forever());
    forge.spawn(cancel_some());
    co_await forge.join();
    co_await sleep_for(clock_, 30s);
    chance_.calm();
    if (!node_) co_await start();
    auto patience = clock_.now() + 15min;
    while (!co_await oracle_.all_ended(deliveries) && clock_.now() < patience) co_await sleep_for(clock_, 1s);
    co_await sleep_for(clock_, 1min);   // what runs on has its grace to end
    over_ = true;
    co_await outside_.join();
    co_await oracle_.judge(executor_.deeds(), slots, node_->logs, deliveries);
    co_await crash();
    executor_.cancel();
    co_await executor_.join();
  }

  TempDir dir_{};
  const bool logs_by_bus_;
  VirtualClock clock_;
  Chance chance_;
  SeededEntropy entropy_;
  TestLoop loop_;
  std::unique_ptr<Database> truth_;
  MemoryBlobs blobs_;
  std::unique_ptr<Secrets> secrets_;
  SimulatedForge forge_;
  RunnerIdentity identity_;
  SimulatedExecutor executor_;
  Oracle oracle_;
  std::shared_ptr<Node> node_;
  std::vector<std::shared_ptr<Node>> graveyard_;
  Scope outside_;
  int crashes_ = 0;
  bool over_ = false;
};

}  // namespace

Report simulate(std::uint64_t seed, const Faults& faults, int deliveries) { return World(seed, faults).run(deliveries); }

}  // namespace mayfly::simulation
