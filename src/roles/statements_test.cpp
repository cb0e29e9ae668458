// Statements that no other test of a role runs: what the gateway lists, and builds as rows. Their point is that they mean the
// same on every database.

#include <gtest/gtest.h>

#include "roles/builds/deliveries.h"
#include "roles/builds/records.h"
#include "roles/common/lease.h"
#include "roles/common/pools.h"
#include "roles/common/projects.h"
#include "roles/gateway/access.h"
#include "roles/gateway/build_list.h"
#include "roles/schema.h"
#include "support/run.h"
#include "support/seeded_entropy.h"
#include "support/test_database.h"
#include "support/virtual_clock.h"

namespace mayfly {
namespace {

using namespace std::chrono_literals;

struct Statements : testing::Test {
  VirtualClock clock;
  SeededEntropy entropy{1};
  TestLoop loop{clock};
  std::unique_ptr<Database> db = make_test_database(schema());
  Project project = loop.run(add_project(*db, clock, entropy, {.name = "web", .repo_url = "/srv/web.git"})).value();

  BuildRecord store_build(std::string ref) {
    JobSpec spec;
    spec.name = spec.base_name = "test";
    JobState job;
    job.id = make_id<JobId>(clock, entropy);
    job.spec = std::make_shared<const JobSpec>(std::move(spec));
    BuildRecord record;
    record.header = {.id = make_id<BuildId>(clock, entropy), .project = project.id, .organization = project.organization,
                     .trigger_type = "push", .ref = std::move(ref), .commit_sha = "c0ffee", .message = "a 'quoted' $1 message",
                     .author = "Ada", .pipeline = "ci"};
    record.state.id = record.header.id;
    record.state.project = project.id;
    record.state.organization = project.organization;
    record.state.created_at = clock.now();
    record.state.jobs.push_back(std::move(job));
    auto effects = begin(record.state, clock.now());
    EXPECT_TRUE(loop.run(db->transact(insert_build(record, effects, clock, entropy).unit)));
    clock.advance(1s);
    return record;
  }
  Result<void> move(BuildRecord& record, const BuildEvent& event) {
    auto from = record.state.sequence;
    auto effects = apply(record.state, event, clock.now()).value();
    TRY(loop.run(db->transact(store_change(record.state, effects, from, clock, entropy).unit)));
    return {};
  }
};

TEST_F(Statements, ABuildIsReadBackAsItWasStored) {
  auto stored = store_build("refs/heads/main");
  auto attempt = make_id<AttemptId>(clock, entropy);
  auto job = stored.state.jobs[0].id;
  ASSERT_TRUE(move(stored, Assign{job, "local", attempt}));
  ASSERT_TRUE(move(stored, Start{job, stored.state.jobs[0].fence, "runner", Isolation::gvisor}));
  auto found = loop.run(load_build(*db, stored.header.id));
  ASSERT_TRUE(found) << found.error().message;
  EXPECT_EQ(found->header.number, 1);
  EXPECT_EQ(found->header.message, stored.header.message);
  EXPECT_EQ(found->state.sequence, 3);
  EXPECT_EQ(found->state.status, BuildStatus::running);
  ASSERT_EQ(found->state.jobs.size(), 1u);
  found->state.jobs[0].spec = stored.state.jobs[0].spec;  // compared by its place in memory
  EXPECT_EQ(found->state.jobs, stored.state.jobs);
  EXPECT_EQ(loop.run(sequence_of_build(*db, stored.header.id)).value(), 3);
  EXPECT_EQ(loop.run(find_attempt(*db, attempt)).value().job, job);
  EXPECT_EQ(loop.run(live_jobs(*db)).value().size(), 1u);
  EXPECT_EQ(loop.run(build_of_job(*db, job)).value(), stored.header.id);
}

TEST_F(Statements, AChangeDecidedOnAnOldStateIsRefused) {
  auto one = store_build("refs/heads/main"), other = one;
  ASSERT_TRUE(move(one, CancelBuild{"ada"}));
  auto late = move(other, CancelBuild{"bob"});
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, Errc::conflict);
}

TEST_F(Statements, BuildsAreListedByEveryCombinationOfFilters) {
  auto first = store_build("refs/heads/main"), second = store_build("refs/tags/v1");
  for (int set = 0; set < 16; ++set) {
    BuildFilter filter;
    if (set & 1) filter.project = project.id;
    if (set & 2) filter.status = BuildStatus::queued;
    if (set & 4) filter.ref = "v1";
    if (set & 8) filter.trigger = "push";
    auto found = loop.run(list_builds(*db, filter, std::nullopt, 10));
    ASSERT_TRUE(found) << set << ": " << found.error().message;
    ASSERT_EQ(found->size(), set & 4 ? 1u : 2u) << set;
    EXPECT_EQ(found->at(0).header.id, second.header.id) << "the newest first, whatever the collation";
    auto before = loop.run(list_builds(*db, filter, second.header.id, 10)).value();
    EXPECT_EQ(before.size(), set & 4 ? 0u : 1u) << set;
  }
}

TEST_F(Statements, DeliveriesAreListed) {
  EXPECT_TRUE(loop.run(list_deliveries(*db, std::nullopt, std::nullopt, 10)).value().empty());
  EXPECT_TRUE(loop.run(list_deliveries(*db, project.id, std::nullopt, 10)).value().empty());
  EXPECT_EQ(loop.run(find_delivery(*db, make_id<DeliveryId>(clock, entropy))).error().code, Errc::not_found);
}

TEST_F(Statements, ATokenLetsItsBearerIn) {
  Access access(*db, clock, entropy);
  auto made = loop.run(access.create({.name = "ci", .role = Role::viewer, .lifetime = 1h})).value();
  auto header = "Bearer " + made.token;
  ASSERT_TRUE(loop.run(access.ensure_owner("secret token of the data directory")));
  auto actor = loop.run(access.authenticate(header));
  ASSERT_TRUE(actor) << actor.error().message;
  loop.run(access.audit(*actor, "tested", "a token"));
  clock.advance(2h);
  EXPECT_EQ(loop.run(access.authenticate(header)).error().code, Errc::unauthenticated);
}

TEST_F(Statements, ALeaseIsTakenAndItsEpochGrows) {
  Lease mine(*db, clock, loop.loop(), "scheduler", "a"), theirs(*db, clock, loop.loop(), "scheduler", "b");
  auto first = loop.run(mine.take()).value(), second = loop.run(theirs.take()).value();
  EXPECT_GT(second.epoch, first.epoch);
  EXPECT_EQ(loop.run(db->transact({first.still_ours()})).error().code, Errc::conflict);
  EXPECT_TRUE(loop.run(db->transact({second.still_ours()})));
  loop.run(theirs.release());
}

TEST_F(Statements, APoolIsWhatWasSaidLast) {
  for (int slots : {1, 2})
    ASSERT_TRUE(loop.run(db->transact({store_pool({.state = {.name = "local", .capacity = {slots * 1000, 1 << 30, slots}, .labels = {},
                                                          .isolations = {Isolation::sandbox, Isolation::kata}, .floor = Isolation::gvisor, .fork_floor = Isolation::kata}})})));
  auto pools = loop.run(pool_records(*db)).value();
  ASSERT_EQ(pools.size(), 1u);
  EXPECT_EQ(pools[0].state.capacity.slots, 2);
  EXPECT_EQ(pools[0].state.isolations, (std::vector{Isolation::sandbox, Isolation::kata}));
  EXPECT_EQ(pools[0].state.floor, Isolation::gvisor);
  EXPECT_EQ(pools[0].state.fork_floor, Isolation::kata);
  EXPECT_EQ(loop.run(stored_pool(*db, "local")).value(), pools[0].state);
  EXPECT_EQ(loop.run(stored_pool(*db, "elsewhere")).value(), std::nullopt);
  EXPECT_EQ(pools[0].keeper, "");
}

TEST_F(Statements, ADrainedPoolStaysSoWhateverItsKeeperSays) {
  PoolSelf self{.state = {.name = "local", .capacity = {1000, 1 << 30, 1}, .labels = {"arm"}, .isolations = {Isolation::sandbox}}, .executor = "docker", .warm = 2};
  ASSERT_TRUE(loop.run(db->transact({store_pool(self)})));
  ASSERT_TRUE(loop.run(db->transact({drain_pool("local", "ada", clock.now())})));
  EXPECT_EQ(loop.run(db->transact({drain_pool("local", "bob", clock.now())})).error().code, Errc::conflict);
  ASSERT_TRUE(loop.run(db->transact({store_pool(self)})));
  auto pool = loop.run(find_pool(*db, "local")).value();
  EXPECT_TRUE(pool.state.draining);
  EXPECT_EQ(pool.drained_by, "ada");
  EXPECT_EQ(pool.drained_at, clock.now());
  EXPECT_EQ(pool.executor, "docker");
  EXPECT_EQ(pool.warm, 2);
  ASSERT_TRUE(loop.run(db->transact({resume_pool("local")})));
  EXPECT_EQ(loop.run(db->transact({resume_pool("local")})).error().code, Errc::conflict);
  EXPECT_FALSE(loop.run(find_pool(*db, "local"))->state.draining);
  EXPECT_EQ(loop.run(find_pool(*db, "other")).error().code, Errc::not_found);
}

TEST_F(Statements, OnlyTheSchedulerAssignsAndOnlyToAPoolThatTakesJobs) {
  Lease lease(*db, clock, loop.loop(), "scheduler", "one");
  auto scheduler = loop.run(lease.take()).value();
  auto allowed = [&](const Leadership& who, std::string pool) { return loop.run(db->transact({may_assign(who, pool)})).has_value(); };
  EXPECT_FALSE(allowed(scheduler, "local"));
  ASSERT_TRUE(loop.run(db->transact({store_pool({.state = {.name = "local", .capacity = {1000, 1 << 30, 1}, .labels = {}, .isolations = {}}})})));
  EXPECT_TRUE(allowed(scheduler, "local"));
  ASSERT_TRUE(loop.run(db->transact({drain_pool("local", "ada", clock.now())})));
  EXPECT_FALSE(allowed(scheduler, "local"));
  ASSERT_TRUE(loop.run(db->transact({resume_pool("local"), mark_silent("local", clock.now())})));
  EXPECT_FALSE(allowed(scheduler, "local"));
  ASSERT_TRUE(loop.run(db->transact({mark_heard("local")})));
  EXPECT_TRUE(allowed(scheduler, "local"));
  auto next = loop.run(lease.take()).value();
  EXPECT_FALSE(allowed(scheduler, "local"));
  EXPECT_TRUE(allowed(next, "local"));
}

TEST_F(Statements, WhoKeepsAPoolIsReadOffItsLease) {
  ASSERT_TRUE(loop.run(db->transact({store_pool({.state = {.name = "local", .capacity = {1000, 1 << 30, 1}, .labels = {}, .isolations = {}}})})));
  Lease lease(*db, clock, loop.loop(), pool_lease("local"), "here/1");
  auto held = loop.run(lease.take()).value();
  auto pool = loop.run(find_pool(*db, "local")).value();
  EXPECT_EQ(pool.keeper, "here/1");
  EXPECT_EQ(pool.epoch, held.epoch);
}

TEST_F(Statements, TheLoadOfAPoolIsWhatHoldsItsRunners) {
  auto one = store_build("refs/heads/one"), two = store_build("refs/heads/two"), three = store_build("refs/heads/three");
  for (auto* build : {&one, &two}) ASSERT_TRUE(move(*build, Assign{build->state.jobs[0].id, "here", make_id<AttemptId>(clock, entropy)}));
  ASSERT_TRUE(move(three, Assign{three.state.jobs[0].id, "there", make_id<AttemptId>(clock, entropy)}));
  ASSERT_TRUE(move(two, Start{two.state.jobs[0].id, two.state.jobs[0].fence, "r"}));
  auto loads = loop.run(pool_loads(*db)).value();
  EXPECT_EQ(loads["here"].assigned, 1);
  EXPECT_EQ(loads["here"].running, 1);
  EXPECT_EQ(loads["there"].assigned, 1);
  auto jobs = loop.run(jobs_of_pool(*db, "here")).value();
  ASSERT_EQ(jobs.size(), 2u);
  EXPECT_EQ(jobs[0].build, one.header.id);
  EXPECT_EQ(jobs[1].status, JobStatus::running);
}

}  // namespace
}  // namespace mayfly
