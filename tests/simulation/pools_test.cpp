// Three pools of different sizes, each with a keeper of its own, on virtual time: keepers die, machines die with all their
// runners, and both come back, as a seed says. Whatever happens, each job has one effect, and none waits for a pool that is
// gone. MAYFLY_SIM_SEEDS sets how many fresh seeds; MAYFLY_SIM_SEED replays one.

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>

#include "adapters/memory/bus.h"
#include "adapters/memory/cache.h"
#include "adapters/sealed/key.h"
#include "adapters/sealed/secrets.h"
#include "base/log.h"
#include "roles/builds/planning.h"
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

constexpr std::string_view pipeline = R"(version: 1
jobs:
  first: {run: ok}
  left: {needs: [first], run: ok}
  right: {needs: [first], run: slow}
  picky: {run: ok, runs_on: [large]}
)";
constexpr std::string_view reasons_of_ended = "select reason, count(*) from attempts where outcome = 'infrastructure' group by reason";
constexpr std::string_view pools_of_job = "select distinct attempts.pool from attempts join jobs on jobs.id = attempts.job_id where jobs.name = $1";
constexpr std::string_view retries_of_jobs = "select name, infrastructure_retries, status from jobs";

/// What all processes share, as they share a database, a bus and a cache.
struct Ground {
  TempDir dir{};
  VirtualClock clock;
  Chance chance;
  SeededEntropy entropy;
  TestLoop loop{clock};
  std::unique_ptr<Database> db = make_test_database(schema());
  std::unique_ptr<Bus> bus = make_memory_bus(clock);
  std::unique_ptr<Cache> cache = make_memory_cache(clock);
  MemoryBlobs blobs;
  std::unique_ptr<Secrets> secrets = make_sealed_secrets(*db, clock, entropy, SealingKey::load_or_make(dir.path() / "key", entropy).value());
  SimulatedForge forge{std::string(pipeline), clock, chance};
  RunnerIdentity identity{"key"};

  explicit Ground(std::uint64_t seed) : chance(seed, Faults{.name = "pools"}), entropy(seed + 1) {}
};

/// Everything but the keepers: it never dies here.
struct Server {
  Builds builds;
  LogStore logs;
  ArtifactStore artifacts;
  Attempts attempts;
  Metrics metrics;
  UsageStore usage;
  Lease lease;
  Scope roles;

  explicit Server(Ground& g)
      : builds(*g.db, *g.bus, *g.cache, g.clock, g.entropy), logs(*g.db, g.blobs, g.clock), artifacts(*g.db, g.blobs, g.clock, g.entropy),
        attempts(*g.db, builds, logs, artifacts, *g.secrets, g.forge, *g.cache, g.clock, g.identity, "http://simulated"), usage(*g.db, g.clock),
        lease(*g.db, g.clock, g.loop.loop(), "scheduler", "server"), roles(g.loop.loop()) {
    roles.spawn(builds.relay());
    roles.spawn(logs.run());
    roles.spawn(attempts.run());
    roles.spawn(lease.hold([this, &g](Leadership leadership) { return schedule(g, std::move(leadership)); }));
  }

  Task<void> schedule(Ground& g, Leadership leadership) {
    Scheduler scheduler(*g.db, builds, *g.bus, *g.cache, g.clock, g.entropy, metrics, usage, g.loop.loop(), std::move(leadership), false);
    co_await scheduler.run();
  }
};

/// One life of a pool's keeper.
struct Keeper {
  Builds builds;
  Lease lease;
  Scope roles;

  Keeper(Ground& g, Executor& executor, scheduling::PoolState pool, int life)
      : builds(*g.db, *g.bus, *g.cache, g.clock, g.entropy),
        lease(*g.db, g.clock, g.loop.loop(), pool_lease(pool.name), pool.name + "/" + std::to_string(life)), roles(g.loop.loop()) {
    roles.spawn(builds.relay());
    roles.spawn(lease.hold([this, &g, &executor, pool](Leadership leadership) { return keep(g, executor, pool, std::move(leadership)); }));
  }

  Task<void> keep(Ground& g, Executor& executor, scheduling::PoolState pool, Leadership leadership) {
    PoolKeeper keeper(*g.db, builds, executor, *g.bus, *g.cache, g.clock, g.identity, g.loop.loop(), {.pool = pool, .api_url = "http://simulated"},
                      std::move(leadership));
    co_await keeper.run();
  }
};

class Pool {
 public:
  Pool(Ground& g, Server& server, std::string name, std::int64_t slots, std::vector<std::string> labels)
      : ground_(g), state_{.name = std::move(name), .capacity = {slots * 1000, slots << 30, slots}, .labels = std::move(labels), .isolations = {Isolation::sandbox}},
        executor_(g.loop.loop(), g.clock, g.chance, [&server] { return &server.attempts; }) {}

  void start() { keeper_ = std::make_unique<Keeper>(ground_, executor_, state_, ++lives_); }
  /// kill -9 of the keeper, or of the whole machine. Nothing is given back.
  Task<void> die(bool machine) {
    if (machine) executor_.power_off();
    executor_.deafen();
    keeper_->roles.cancel();
    co_await keeper_->roles.join();
    keeper_.reset();
  }
  Task<void> end() {
    if (keeper_) co_await die(false);
    executor_.cancel();
    co_await executor_.join();
  }
  const Deeds& deeds() const { return executor_.deeds(); }
  const std::string& name() const { return state_.name; }

 private:
  Ground& ground_;
  scheduling::PoolState state_;
  SimulatedExecutor executor_;
  std::unique_ptr<Keeper> keeper_;
  int lives_ = 0;
};

struct Told {
  std::vector<std::string> violations;
  std::map<std::string, std::int64_t> reasons;     // of attempts that infrastructure lost
  std::map<std::string, std::size_t> begun;        // attempts that ran, by pool
};

class Story {
 public:
  explicit Story(std::uint64_t seed) : g_(seed), server_(g_), oracle_(*g_.db, g_.clock), outside_(g_.loop.loop()) {
    pools_.push_back(std::make_unique<Pool>(g_, server_, "small", 1, std::vector<std::string>{}));
    pools_.push_back(std::make_unique<Pool>(g_, server_, "middle", 3, std::vector<std::string>{"large"}));
    pools_.push_back(std::make_unique<Pool>(g_, server_, "big", 6, std::vector<std::string>{"large"}));
  }

  Told run(int builds) {
    g_.loop.run(tell(builds));
    return std::move(told_);
  }

 private:
  Task<void> make_builds(int builds) {
    auto project = co_await add_project(*g_.db, g_.clock, g_.entropy, {.name = "web", .repo_url = "/srv/web.git"});
    for (int n = 0; n < builds; ++n) {
      char sha[41];
      std::snprintf(sha, sizeof sha, "%040x", n + 1);
      auto planned = co_await plan_build(g_.forge, g_.clock, g_.entropy, {.project = *project, .event = {.event = "push", .ref = "refs/heads/main", .sha = sha}});
      auto made = co_await server_.builds.create(std::move(*planned->build), {});
      EXPECT_TRUE(made);
      co_await sleep_for(g_.clock, g_.chance.up_to(6s));
    }
  }

  /// Each pool lives a while, dies and comes back, until the story calms down.
  Task<void> misfortune(Pool& pool) {
    pool.start();
    while (!calm_) {
      co_await sleep_for(g_.clock, 5s + g_.chance.up_to(60s));
      if (calm_) co_return;
      co_await pool.die(g_.chance.below(2) == 0);
      co_await sleep_for(g_.clock, g_.chance.up_to(g_.chance.below(2) == 0 ? Duration(4s) : Duration(90s)));
      pool.start();
    }
  }

  Task<void> watch() {
    while (!over_) {
      co_await oracle_.look();
      co_await sleep_for(g_.clock, 250ms);
    }
  }

  Task<void> tell(int builds) {
    outside_.spawn(watch());
    for (auto& pool : pools_) outside_.spawn(misfortune(*pool));
    co_await make_builds(builds);
    co_await sleep_for(g_.clock, 2min);
    calm_ = true;
    auto patience = g_.clock.now() + 15min;
    while (!co_await oracle_.all_ended(builds) && g_.clock.now() < patience) co_await sleep_for(g_.clock, 1s);
    co_await sleep_for(g_.clock, 2min);   // who comes back late stops what is no longer its own
    over_ = true;
    co_await outside_.join();
    co_await judge(builds);
    for (auto& pool : pools_) co_await pool->end();
    server_.roles.cancel();
    co_await server_.roles.join();
  }

  Task<void> judge(int builds) {
    Deeds all;
    for (auto& pool : pools_) {
      auto& deeds = pool->deeds();
      told_.begun[pool->name()] = deeds.begun.size();
      if (deeds.at_once != 0) told_.violations.push_back("runners of pool " + pool->name() + " go on after all builds have ended");
      for (auto& [attempt, times] : deeds.begun) all.begun[attempt] += times;
      for (auto& [attempt, log] : deeds.logs) all.logs[attempt] += log;
      for (auto& [job, attempts] : deeds.of_job) all.of_job[job].insert(attempts.begin(), attempts.end());
    }
    co_await oracle_.judge(all, 0, server_.logs, builds);
    for (auto& violation : oracle_.violations()) told_.violations.push_back(violation);
    auto reasons = co_await g_.db->query(statement(reasons_of_ended));
    for (auto& row : reasons->rows) told_.reasons[text_at(row, 0)] = int_at(row, 1);
    auto picky = co_await g_.db->query(statement(pools_of_job, "picky"));
    for (auto& row : picky->rows)
      if (text_at(row, 0) == "small") told_.violations.push_back("a job ran in a pool without its label");
    auto jobs = co_await g_.db->query(statement(retries_of_jobs));
    for (auto& row : jobs->rows)
      if (text_at(row, 2) == "failed" && int_at(row, 1) < max_infrastructure_retries)
        told_.violations.push_back("job " + text_at(row, 0) + " failed before its tries were used up");
  }

  Ground g_;
  Server server_;
  Oracle oracle_;
  std::vector<std::unique_ptr<Pool>> pools_;
  Scope outside_;
  Told told_;
  bool calm_ = false, over_ = false;
};

std::optional<std::uint64_t> number_from(const char* name) {
  auto* text = std::getenv(name);
  return text ? std::optional(std::uint64_t(std::strtoull(text, nullptr, 10))) : std::nullopt;
}

struct DyingPools : testing::Test {
  static void SetUpTestSuite() { set_log_level(Level::error); }

  Told told_of(std::uint64_t seed) {
    auto told = Story(seed).run(20);
    for (auto& violation : told.violations) ADD_FAILURE() << violation << "\nreplay: MAYFLY_SIM_SEED=" << seed << " simulation_test --gtest_filter='DyingPools*'";
    return told;
  }
};

TEST_F(DyingPools, GiveTheirJobsToOthersAndNoneIsDoneTwice) {
  if (auto seed = number_from("MAYFLY_SIM_SEED")) {
    told_of(*seed);
    return;
  }
  std::int64_t taken_back = 0, lost = 0;
  std::map<std::string, std::size_t> begun;
  auto fresh = number_from("MAYFLY_SIM_SEEDS").value_or(1);
  auto first = std::uint64_t(std::chrono::system_clock::now().time_since_epoch().count());
  std::vector<std::uint64_t> seeds{1};
  for (std::uint64_t i = 0; i < fresh; ++i) seeds.push_back(first + i);
  for (auto seed : seeds) {
    auto told = told_of(seed);
    if (HasFailure()) return;
    taken_back += told.reasons["pool_lost"];
    lost += told.reasons["runner_lost"];
    for (auto& [pool, n] : told.begun) begun[pool] += n;
  }
  if (seeds.size() < 5) return;   // enough of them that everything has happened
  EXPECT_GT(taken_back, 0);
  EXPECT_GT(lost, 0);
  for (auto& pool : {"small", "middle", "big"}) EXPECT_GT(begun[pool], 0u) << pool;
}

}  // namespace
}  // namespace mayfly::simulation
