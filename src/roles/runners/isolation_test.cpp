// What a runner says it runs under, beside what its job asks for and its pool promises.

#include <gtest/gtest.h>

#include "adapters/files/blobs.h"
#include "adapters/memory/bus.h"
#include "adapters/memory/cache.h"
#include "adapters/sealed/key.h"
#include "adapters/sealed/secrets.h"
#include "adapters/system/system_entropy.h"
#include "roles/common/pools.h"
#include "roles/common/projects.h"
#include "roles/logs/log_store.h"
#include "roles/runners/attempts.h"
#include "roles/schema.h"
#include "support/run.h"
#include "support/temp_dir.h"
#include "support/test_database.h"
#include "support/virtual_clock.h"

namespace mayfly {
namespace {

using enum Isolation;

class NoForge final : public Forge {
 public:
  Task<Result<std::string>> resolve(std::string, std::string sha) override { co_return sha; }
  Task<Result<Snapshot>> snapshot(std::string, std::string, std::string) override { co_return Snapshot{}; }
  Task<Result<std::optional<std::vector<std::string>>>> changed_paths(std::string, std::string, std::string) override { co_return std::nullopt; }
  Task<Result<std::optional<std::string>>> merge_base(std::string, std::string, std::string) override { co_return std::nullopt; }
  Task<Result<std::vector<std::string>>> tree_hashes(std::string, std::string, std::vector<std::string>) override { co_return std::vector<std::string>{}; }
  Task<Result<void>> deepen(std::string, std::string, std::string, int) override { co_return Result<void>{}; }
  Task<Result<std::string>> mirror(std::string) override { co_return "/"; }
};

class Promises : public testing::Test {
 protected:
  void pool_is(std::vector<Isolation> offers, Isolation floor, Isolation fork_floor) {
    scheduling::PoolState pool{.name = "p", .isolations = std::move(offers), .floor = floor, .fork_floor = fork_floor};
    ASSERT_TRUE(loop.run(db->transact({store_pool({.state = pool})})));
  }

  /// An assigned attempt of a job that asks for `asked`.
  void assigned(std::optional<Isolation> asked, bool fork = false) {
    auto project = loop.run(add_project(*db, clock, entropy, {.name = "web", .repo_url = "/srv/web.git"})).value();
    JobSpec spec;
    spec.name = spec.base_name = "test";
    spec.isolation = asked;
    spec.steps.push_back({.name = "make"});
    BuildRecord record;
    record.header = {.id = make_id<BuildId>(clock, entropy), .project = project.id, .organization = project.organization, .trigger_type = "push", .ref = "refs/heads/main", .commit_sha = "c0ffee"};
    record.state.id = record.header.id;
    record.state.project = project.id;
    record.state.organization = project.organization;
    record.state.event.fork = fork;
    JobState job;
    job.id = make_id<JobId>(clock, entropy);
    job.spec = std::make_shared<const JobSpec>(std::move(spec));
    record.state.jobs.push_back(std::move(job));
    auto effects = begin(record.state, clock.now());
    ASSERT_TRUE(loop.run(db->transact(insert_build(record, effects, clock, entropy).unit)));
    build = record.header.id;
    ASSERT_TRUE(loop.run(builds.change(build, Assign{.job = record.state.jobs[0].id, .pool = "p", .attempt = attempt})));
  }

  JobState job() { return loop.run(builds.get(build)).value()->state.jobs[0]; }

  Result<StartAnswer> start(std::optional<Isolation> says) {
    return loop.run(attempts.start(attempt, {.boot_token = identity.boot_token(attempt, job().fence), .runner_id = "r", .isolation = says}));
  }

  TempDir dir;
  VirtualClock clock;
  SystemEntropy entropy;
  TestLoop loop{clock};
  std::unique_ptr<Offload> threads = make_thread_offload(1);
  std::unique_ptr<Database> db = make_test_database(schema());
  std::unique_ptr<Bus> bus = make_memory_bus(clock);
  std::unique_ptr<Cache> cache = make_memory_cache(clock);
  std::unique_ptr<Secrets> secrets = make_sealed_secrets(*db, clock, entropy, SealingKey::load_or_make(dir.path() / "key", entropy).value());
  std::unique_ptr<Blobs> blobs = open_file_blobs(dir.file("blobs"), *threads).value();
  NoForge forge;
  RunnerIdentity identity{"key"};
  Builds builds{*db, *bus, *cache, clock, entropy};
  LogStore logs{*db, *blobs, clock};
  ArtifactStore artifacts{*db, *blobs, clock, entropy};
  Attempts attempts{*db, builds, logs, artifacts, *secrets, forge, *cache, clock, identity, "http://ci"};
  BuildId build;
  AttemptId attempt = make_id<AttemptId>(clock, entropy);
};

TEST_F(Promises, StepsAndPeopleSeeWhatTheJobRunsUnder) {
  pool_is({sandbox, gvisor}, sandbox, sandbox);
  assigned(gvisor);
  auto answer = start(gvisor);
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(answer->job.env.at("CI_ISOLATION"), "gvisor");
  EXPECT_EQ(job().isolation, gvisor);
}

TEST_F(Promises, ARunnerWeakerThanItsJobAsksForLosesTheAttempt) {
  pool_is({sandbox, gvisor}, sandbox, sandbox);
  assigned(gvisor);
  EXPECT_EQ(start(sandbox).error().code, Errc::conflict);
  auto after = job();
  EXPECT_EQ(after.status, JobStatus::queued) << "retried free";
  EXPECT_EQ(after.infrastructure_retries, 1);
  EXPECT_EQ(after.reason, Reason::isolation);
  EXPECT_EQ(after.detail, "its runner runs under sandbox, and the job was promised gvisor");
}

TEST_F(Promises, SoDoesOneBelowThePoolsFloorWhateverTheJobSays) {
  pool_is({sandbox, gvisor}, gvisor, sandbox);
  assigned(std::nullopt);
  EXPECT_FALSE(start(runc));
  EXPECT_EQ(job().status, JobStatus::queued);
}

TEST_F(Promises, SoDoesOneThatDoesNotKnow) {
  pool_is({gvisor}, sandbox, sandbox);
  assigned(std::nullopt);
  EXPECT_FALSE(start(std::nullopt));
  EXPECT_EQ(job().detail, "its runner runs under an isolation it does not know, and the job was promised gvisor");
}

TEST_F(Promises, TheFloorForForksIsForForks) {
  pool_is({sandbox, gvisor}, sandbox, gvisor);
  assigned(std::nullopt);
  EXPECT_TRUE(start(sandbox));
}

TEST_F(Promises, AForksBuildIsNotRunBelowIt) {
  pool_is({sandbox, gvisor}, sandbox, gvisor);
  assigned(std::nullopt, true);
  EXPECT_FALSE(start(sandbox));
}

TEST_F(Promises, AStrongerRunnerIsWelcome) {
  pool_is({sandbox, gvisor}, sandbox, sandbox);
  assigned(runc);
  EXPECT_TRUE(start(kata));
  EXPECT_EQ(job().isolation, kata);
}

}  // namespace
}  // namespace mayfly
