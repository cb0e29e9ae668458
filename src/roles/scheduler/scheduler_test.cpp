#include "roles/scheduler/scheduler.h"

#include <gtest/gtest.h>

#include "adapters/memory/bus.h"
#include "adapters/memory/cache.h"
#include "roles/common/pools.h"
#include "roles/common/projects.h"
#include "roles/schema.h"
#include "support/run.h"
#include "support/seeded_entropy.h"
#include "support/test_database.h"
#include "support/virtual_clock.h"

namespace mayfly {
namespace {

using namespace std::chrono_literals;

PoolRecord pool(std::string name, std::int64_t epoch, std::int64_t beat) {
  PoolRecord out;
  out.state.name = std::move(name);
  out.epoch = epoch;
  out.beat = beat;
  return out;
}

TEST(PoolBeats, ABeatThatStandsStillIsSeenToHaveStopped) {
  PoolBeats beats;
  auto start = from_micros(1'000'000'000);
  beats.look({pool("a", 1, 5), pool("b", 1, 5)}, start);
  EXPECT_FALSE(beats.moves("a"));
  for (int s = 1; s <= 10; ++s) beats.look({pool("a", 1, 5 + s), pool("b", 1, 5)}, start + s * 1s);
  EXPECT_TRUE(beats.moves("a"));
  EXPECT_EQ(beats.still_since("a"), start + 10s);
  EXPECT_EQ(beats.still_since("b"), start);
  beats.look({pool("b", 2, 0)}, start + 11s);
  EXPECT_EQ(beats.still_since("b"), start + 11s);
}

TEST(PoolBeats, TimeInWhichNobodyLookedSaysNothing) {
  PoolBeats beats;
  auto start = from_micros(1'000'000'000);
  beats.look({pool("a", 1, 5)}, start);
  beats.look({pool("a", 1, 5)}, start + PoolBeats::longest_gap);
  EXPECT_EQ(beats.still_since("a"), start);
  auto back = start + 2 * PoolBeats::longest_gap + 1us;
  beats.look({pool("a", 1, 5)}, back);
  EXPECT_EQ(beats.still_since("a"), back);
}

struct Schedulers : testing::Test {
  VirtualClock clock;
  SeededEntropy entropy{1};
  TestLoop loop{clock};
  std::unique_ptr<Database> db = make_test_database(schema());
  std::unique_ptr<Bus> bus = make_memory_bus(clock);
  std::unique_ptr<Cache> cache = make_memory_cache(clock);
  Builds builds{*db, *bus, *cache, clock, entropy};
  Metrics metrics;

  BuildId make_build(std::string organization) {
    auto project = find_or_add(organization);
    JobSpec spec;
    spec.name = spec.base_name = "test";
    spec.steps = {{.name = "run", .run = "true"}};
    JobState job;
    job.id = make_id<JobId>(clock, entropy);
    job.spec = std::make_shared<const JobSpec>(std::move(spec));
    BuildRecord record;
    record.header = {.id = make_id<BuildId>(clock, entropy), .project = project.id, .organization = project.organization, .trigger_type = "push", .ref = "refs/heads/main"};
    record.state.id = record.header.id;
    record.state.project = project.id;
    record.state.organization = project.organization;
    record.state.created_at = clock.now();
    record.state.jobs.push_back(std::move(job));
    auto id = record.header.id;
    EXPECT_TRUE(loop.run(builds.create(std::move(record), {})));
    clock.advance(1ms);
    return id;
  }
  Project find_or_add(const std::string& organization) {
    auto found = loop.run(find_project_by_name(*db, organization + "-web"));
    if (found) return *found;
    return loop.run(add_project(*db, clock, entropy, {.name = organization + "-web", .repo_url = "/srv/" + organization + ".git", .organization = organization})).value();
  }
  void pool_of(std::int64_t slots) {
    ASSERT_TRUE(loop.run(db->transact({store_pool({.state = {.name = "local", .capacity = {slots * 1000, slots << 30, slots}, .labels = {}, .isolations = {Isolation::sandbox}}})})));
  }
  JobState job_of(BuildId build) { return loop.run(builds.get(build)).value()->state.jobs[0]; }
  Result<void> change(BuildEvent event, BuildId build) { return loop.run(builds.change(build, std::move(event))); }

  Task<void> schedule_for(Duration time, bool alone) {
    Lease lease(*db, clock, loop.loop(), "scheduler", "one");
    auto leadership = co_await lease.take();
    UsageStore usage(*db, clock);
    {
      Scheduler scheduler(*db, builds, *bus, *cache, clock, entropy, metrics, usage, loop.loop(), *leadership, alone);
      Scope scope(loop.loop());
      scope.spawn(scheduler.run());
      co_await sleep_for(clock, time);
      scope.cancel();
      co_await scope.join();
    }
    co_await usage.flush();
  }
  void schedule(Duration time, bool alone = true) { loop.run(schedule_for(time, alone)); }
};

TEST_F(Schedulers, WhoTakesOverKnowsWhoHasHadHowMuch) {
  pool_of(1);
  auto long_one = make_build("greedy");
  schedule(1s);
  ASSERT_EQ(job_of(long_one).status, JobStatus::assigned);
  ASSERT_TRUE(change(Start{job_of(long_one).id, job_of(long_one).fence, "r"}, long_one));
  schedule(20min);
  ASSERT_TRUE(change(Finish{job_of(long_one).id, job_of(long_one).fence, {.outcome = Outcome::success}}, long_one));
  schedule(1s);
  auto greedy = make_build("greedy");
  auto modest = make_build("modest");
  schedule(1s);
  EXPECT_EQ(job_of(greedy).status, JobStatus::queued);
  EXPECT_EQ(job_of(modest).status, JobStatus::assigned);
}

TEST_F(Schedulers, APoolThatNobodyKeepsGivesBackWhatItHasNotBegun) {
  pool_of(2);
  auto begun = make_build("acme"), not_begun = make_build("acme");
  schedule(2s, false);
  ASSERT_EQ(job_of(begun).status, JobStatus::assigned);
  ASSERT_EQ(job_of(not_begun).status, JobStatus::assigned);
  ASSERT_TRUE(change(Start{job_of(begun).id, job_of(begun).fence, "r"}, begun));
  schedule(pool_silent_after + 2s, false);
  EXPECT_TRUE(loop.run(find_pool(*db, "local"))->silent_since.has_value());
  EXPECT_EQ(job_of(not_begun).status, JobStatus::assigned);
  schedule(pool_gone_after + 2s, false);
  auto back = job_of(not_begun);
  EXPECT_EQ(back.status, JobStatus::queued);
  EXPECT_EQ(back.reason, Reason::pool_lost);
  EXPECT_EQ(back.infrastructure_retries, 0);
  EXPECT_EQ(job_of(begun).status, JobStatus::running);

  // Its runner is not heard of either: that one is counted.
  schedule(heartbeat_lost_after + 15s, false);
  EXPECT_EQ(job_of(begun).status, JobStatus::queued);
  EXPECT_EQ(job_of(begun).reason, Reason::runner_lost);
  EXPECT_EQ(job_of(begun).infrastructure_retries, 1);
}

TEST_F(Schedulers, APoolThatIsKeptAgainIsUsedAgain) {
  pool_of(1);
  schedule(pool_silent_after + 2s, false);
  auto build = make_build("acme");
  schedule(2s, false);
  EXPECT_EQ(job_of(build).status, JobStatus::queued);
  pool_of(1);   // its keeper says so
  schedule(2s, false);
  EXPECT_EQ(job_of(build).status, JobStatus::assigned);
}

TEST_F(Schedulers, ADrainedPoolIsGivenNothing) {
  pool_of(1);
  ASSERT_TRUE(loop.run(db->transact({drain_pool("local", "ada", clock.now())})));
  auto build = make_build("acme");
  schedule(2s);
  EXPECT_EQ(job_of(build).status, JobStatus::queued);
  ASSERT_TRUE(loop.run(db->transact({resume_pool("local")})));
  schedule(2s);
  EXPECT_EQ(job_of(build).status, JobStatus::assigned);
}

TEST_F(Schedulers, MetricsAreOfNowAndGoWithTheScheduler) {
  pool_of(1);
  for (int n = 0; n < 2; ++n) make_build("acme");
  auto told = [&]() -> Task<std::string> {
    Lease lease(*db, clock, loop.loop(), "scheduler", "one");
    auto leadership = co_await lease.take();
    UsageStore usage(*db, clock);
    Scheduler scheduler(*db, builds, *bus, *cache, clock, entropy, metrics, usage, loop.loop(), *leadership, true);
    Scope scope(loop.loop());
    scope.spawn(scheduler.run());
    co_await sleep_for(clock, 5s);
    auto text = metrics.text();
    scope.cancel();
    co_await scope.join();
    co_return text;
  };
  auto text = loop.run(told());
  EXPECT_NE(text.find(R"(mayfly_queue_depth{pool="local",shape="1 cpu, 1 GiB"} 1)"), std::string::npos) << text;
  EXPECT_NE(text.find(R"(mayfly_running_jobs{pool="local"} 1)"), std::string::npos) << text;
  EXPECT_NE(text.find(R"(mayfly_pool_capacity{pool="local",resource="slots"} 1)"), std::string::npos) << text;
  EXPECT_NE(text.find("mayfly_waiting_jobs 1"), std::string::npos) << text;
  EXPECT_EQ(metrics.text().find("mayfly_queue_depth{"), std::string::npos);
}

}  // namespace
}  // namespace mayfly
