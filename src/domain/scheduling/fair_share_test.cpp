#include "domain/scheduling/fair_share.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "domain/scheduling/test_world.h"

namespace mayfly::scheduling::test {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;

TEST(FairShare, StartsTheOnlyJobInTheOnlyPool) {
  FairShare scheduler;
  scheduler.set_pool(pool("here", 2));
  scheduler.enqueue(job({.job = 7}));

  EXPECT_EQ(scheduler.next(noon), (Decision{id<JobId>(7), "here"}));
  EXPECT_EQ(scheduler.next(noon), std::nullopt);
  EXPECT_EQ(scheduler.waiting(), 0u);
  EXPECT_EQ(scheduler.running(), 1u);
}

TEST(FairShare, StartsNothingWithoutAPool) {
  FairShare scheduler;
  scheduler.enqueue(job({.job = 1}));
  EXPECT_EQ(scheduler.next(noon), std::nullopt);

  scheduler.set_pool(pool("here", 2));
  EXPECT_THAT(start_all(scheduler, noon), ElementsAre(1));
}

TEST(FairShare, AJobThatWaitsForARunnerGetsItWhenOneEnds) {
  FairShare scheduler;
  scheduler.set_pool(pool("here", 2));
  for (int i = 1; i <= 3; ++i) scheduler.enqueue(job({.job = i, .queued_at = noon + i * 1ms}));

  EXPECT_THAT(start_all(scheduler, noon), ElementsAre(1, 2));
  release(scheduler, {1}, noon + 5s);
  EXPECT_THAT(start_all(scheduler, noon + 5s), ElementsAre(3));
}

TEST(FairShare, OrganizationsTakeTurnsHoweverManyJobsOneHas) {
  FairShare scheduler;
  scheduler.set_pool(pool("here", 6));
  for (int i = 1; i <= 100; ++i) scheduler.enqueue(job({.job = i, .organization = 1}));
  for (int i = 101; i <= 103; ++i) scheduler.enqueue(job({.job = i, .organization = 2, .queued_at = noon + 1s}));

  EXPECT_THAT(start_all(scheduler, noon + 2s), ElementsAre(1, 101, 2, 102, 3, 103));
}

TEST(FairShare, AnOrganizationWithTwiceTheWeightHoldsTwiceAsMuch) {
  FairShare scheduler;
  scheduler.set_organization(id<OrganizationId>(1), "acme", {.weight = 2});
  scheduler.set_pool(pool("here", 9));
  for (int i = 0; i < 20; ++i) scheduler.enqueue(job({.job = 100 + i, .organization = 1}));
  for (int i = 0; i < 20; ++i) scheduler.enqueue(job({.job = 200 + i, .organization = 2}));

  start_all(scheduler, noon);
  auto statistics = scheduler.statistics(noon);
  ASSERT_EQ(statistics.size(), 2u);
  EXPECT_EQ(statistics[0].running, 6);
  EXPECT_EQ(statistics[1].running, 3);
}

TEST(FairShare, WhoHoldsMostOfWhatIsScarceToThemWaits) {
  FairShare scheduler;  // dominant resource fairness, the example of its authors: 9 cpu and 18 GiB
  scheduler.set_pool(pool("here", 9, 18 * GiB));
  for (int i = 0; i < 9; ++i) scheduler.enqueue(job({.job = 100 + i, .organization = 1, .cpu = 1000, .memory = 4 * GiB}));
  for (int i = 0; i < 9; ++i) scheduler.enqueue(job({.job = 200 + i, .organization = 2, .cpu = 3000, .memory = 1 * GiB}));

  start_all(scheduler, noon);
  auto statistics = scheduler.statistics(noon);
  EXPECT_EQ(statistics[0].running, 3);
  EXPECT_EQ(statistics[1].running, 2);
}

TEST(FairShare, ProjectsOfAnOrganizationShareByWeight) {
  FairShare scheduler;
  scheduler.set_project(id<ProjectId>(11), id<OrganizationId>(1), 3);
  scheduler.set_pool(pool("here", 8));
  for (int i = 0; i < 20; ++i) scheduler.enqueue(job({.job = 100 + i, .project = 11}));
  for (int i = 0; i < 20; ++i) scheduler.enqueue(job({.job = 200 + i, .project = 12}));

  int heavy = 0;
  for (int started : start_all(scheduler, noon)) heavy += started < 200;
  EXPECT_EQ(heavy, 6);
}

TEST(FairShare, BuildsOfAProjectTakeTurns) {
  FairShare scheduler;
  scheduler.set_pool(pool("here", 4));
  for (int i = 1; i <= 50; ++i) scheduler.enqueue(job({.job = i, .build = 1}));
  for (int i = 51; i <= 60; ++i) scheduler.enqueue(job({.job = i, .build = 2, .queued_at = noon + 1s}));

  EXPECT_THAT(start_all(scheduler, noon + 2s), ElementsAre(1, 51, 2, 52));
}

TEST(FairShare, OfBuildsServedAtTheSameMomentTheOneWithFewerRunningGoesFirst) {
  FairShare scheduler;
  scheduler.set_pool(pool("here", 3));
  for (int i : {1, 2, 9}) scheduler.enqueue(job({.job = i, .build = 1}));
  for (int i : {3, 8}) scheduler.enqueue(job({.job = i, .build = 2}));
  EXPECT_THAT(start_all(scheduler, noon), ElementsAre(1, 3, 2));
  release(scheduler, {1, 2}, noon);
  EXPECT_THAT(start_all(scheduler, noon), ElementsAre(9, 8));
}

TEST(FairShare, WhoHasUsedLessGoesFirstWhenNobodyHoldsAnything) {
  FairShare scheduler;
  scheduler.set_pool(pool("one", 1));
  for (int i = 1; i <= 9; ++i) scheduler.enqueue(job({.job = i, .organization = 1}));
  for (int i = 11; i <= 19; ++i) scheduler.enqueue(job({.job = i, .organization = 2}));

  std::vector<int> order;
  auto now = noon;
  for (int i = 0; i < 6; ++i) {
    auto decision = scheduler.next(now);
    ASSERT_TRUE(decision);
    order.push_back(number(decision->job));
    now += 10s;
    scheduler.released(decision->job, now);
  }
  EXPECT_THAT(order, ElementsAre(1, 11, 2, 12, 3, 13));
}

TEST(FairShare, IdlingEarnsNoCreditAndUsingIdleRunnersCostsNothing) {
  FairShare scheduler;
  scheduler.set_pool(pool("here", 10));
  int next = 1;
  auto now = noon;
  for (int minute = 0; minute < 60; ++minute) {  // organization 1 has everything for an hour: nobody else wants it
    for (int i = 0; i < 10; ++i) scheduler.enqueue(job({.job = next++, .organization = 1, .queued_at = now}));
    auto started = start_all(scheduler, now);
    now += 1min;
    release(scheduler, started, now);
  }
  for (int i = 0; i < 20; ++i) scheduler.enqueue(job({.job = next++, .organization = 1, .queued_at = now}));
  for (int i = 0; i < 20; ++i) scheduler.enqueue(job({.job = 9000 + i, .organization = 2, .queued_at = now}));

  int newcomer = 0;
  for (int started : start_all(scheduler, now)) newcomer += started >= 9000;
  EXPECT_EQ(newcomer, 5);
}

TEST(FairShare, WhoComesDuringARestartStartsWhereTheOthersAre) {
  FairShare before;
  before.set_pool(pool("here", 10));
  for (int i = 1; i <= 30; ++i) before.enqueue(job({.job = i, .organization = 1}));
  start_all(before, noon);
  auto later = noon + 1h;
  for (int i = 1; i <= 10; ++i) before.released(id<JobId>(std::uint64_t(i)), later);

  FairShare after(before.usage(later));
  after.set_pool(pool("here", 10));
  for (int i = 101; i <= 120; ++i) after.enqueue(job({.job = i, .organization = 2, .queued_at = later}));
  for (int i = 11; i <= 30; ++i) after.enqueue(job({.job = i, .organization = 1}));
  int newcomer = 0;
  for (int started : start_all(after, later)) newcomer += started > 100;
  EXPECT_EQ(newcomer, 5);
}

TEST(FairShare, AHighPriorityGoesFirstWithinItsProject) {
  FairShare scheduler;
  scheduler.set_pool(pool("here", 1));
  scheduler.enqueue(job({.job = 1, .build = 1, .priority = Priority::low}));
  scheduler.enqueue(job({.job = 2, .build = 2, .priority = Priority::normal}));
  scheduler.enqueue(job({.job = 3, .build = 3, .priority = Priority::high}));

  EXPECT_THAT(start_all(scheduler, noon), ElementsAre(3));
  release(scheduler, {3}, noon + 1s);
  EXPECT_THAT(start_all(scheduler, noon + 1s), ElementsAre(2));
}

TEST(FairShare, TenMinutesOfWaitingAreWorthOneClassOfPriority) {
  FairShare scheduler;
  scheduler.enqueue(job({.job = 1, .build = 1, .priority = Priority::low}));
  scheduler.enqueue(job({.job = 2, .build = 2, .priority = Priority::high, .queued_at = noon + 20min - 1s}));
  scheduler.enqueue(job({.job = 3, .build = 3, .priority = Priority::high, .queued_at = noon + 20min + 1s}));
  scheduler.set_pool(pool("here", 1));

  auto now = noon + 30min;
  EXPECT_THAT(start_all(scheduler, now), ElementsAre(2));
  release(scheduler, {2}, now);
  EXPECT_THAT(start_all(scheduler, now), ElementsAre(1));
}

TEST(FairShare, AJobTooBigForWhatIsFreeDoesNotHoldUpThoseBehindIt) {
  FairShare scheduler;
  scheduler.set_pool(pool("here", 4));
  scheduler.enqueue(job({.job = 1, .cpu = 3000}));
  scheduler.enqueue(job({.job = 2, .cpu = 3000, .queued_at = noon + 1ms}));
  scheduler.enqueue(job({.job = 3, .cpu = 1000, .queued_at = noon + 2ms}));

  EXPECT_THAT(start_all(scheduler, noon + 1s), ElementsAre(1, 3));
  release(scheduler, {1}, noon + 2s);
  EXPECT_THAT(start_all(scheduler, noon + 2s), ElementsAre(2));
}

TEST(FairShare, ARetryWaitsOutItsBackoff) {
  FairShare scheduler;
  scheduler.set_pool(pool("here", 4));
  auto retry = job({.job = 1});
  retry.not_before = noon + 5s;
  scheduler.enqueue(retry);

  EXPECT_THAT(start_all(scheduler, noon + 4s), ElementsAre());
  EXPECT_EQ(scheduler.wake_at(), noon + 5s);
  EXPECT_THAT(start_all(scheduler, noon + 5s), ElementsAre(1));
  EXPECT_EQ(scheduler.wake_at(), std::nullopt);
}

TEST(FairShare, AMatrixRunsNoMoreThanItsMaxParallel) {
  FairShare scheduler;
  scheduler.set_pool(pool("here", 10));
  for (int i = 1; i <= 5; ++i) {
    auto q = job({.job = i});
    q.matrix_group = "test", q.max_parallel = 2;
    scheduler.enqueue(q);
  }
  EXPECT_THAT(start_all(scheduler, noon), ElementsAre(1, 2));
  release(scheduler, {2}, noon + 1s);
  EXPECT_THAT(start_all(scheduler, noon + 1s), ElementsAre(3));
}

TEST(FairShare, TheSameMatrixNameInAnotherBuildIsAnotherMatrix) {
  FairShare scheduler;
  scheduler.set_pool(pool("here", 10));
  for (int i = 1; i <= 4; ++i) {
    auto q = job({.job = i, .build = 1 + i % 2});
    q.matrix_group = "test", q.max_parallel = 1;
    scheduler.enqueue(q);
  }
  EXPECT_EQ(start_all(scheduler, noon).size(), 2u);
}

TEST(FairShare, AJobGoesToAPoolWithItsLabelsAndLeavesSpecialPoolsToOthers) {
  FairShare scheduler;
  auto gpu = pool("a-gpu", 4);
  gpu.labels = {"gpu"};
  scheduler.set_pool(gpu);
  scheduler.set_pool(pool("plain", 4));
  auto train = job({.job = 1});
  train.shape.labels = {"gpu"};
  scheduler.enqueue(train);
  scheduler.enqueue(job({.job = 2}));

  std::map<int, std::string> where;
  while (auto decision = scheduler.next(noon)) where[number(decision->job)] = decision->pool;
  EXPECT_THAT(where, ElementsAre(std::pair(1, "a-gpu"), std::pair(2, "plain")));
}

TEST(FairShare, LabelsInAnotherOrderAreTheSameShape) {
  FairShare scheduler;
  auto both = pool("both", 1);
  both.labels = {"gpu", "big"};
  scheduler.set_pool(both);
  for (int i = 1; i <= 2; ++i) {
    auto q = job({.job = i});
    q.shape.labels = i == 1 ? std::vector<std::string>{"gpu", "big"} : std::vector<std::string>{"big", "gpu", "big"};
    scheduler.enqueue(q);
  }
  EXPECT_THAT(start_all(scheduler, noon), ElementsAre(1));
  release(scheduler, {1}, noon + 1s);
  EXPECT_THAT(start_all(scheduler, noon + 1s), ElementsAre(2));
}

TEST(FairShare, ADrainingPoolFinishesWhatItHasAndTakesNothing) {
  FairShare scheduler;
  scheduler.set_pool(pool("old", 2));
  scheduler.enqueue(job({.job = 1}));
  EXPECT_THAT(start_all(scheduler, noon), ElementsAre(1));

  auto draining = pool("old", 2);
  draining.draining = true;
  scheduler.set_pool(draining);
  scheduler.enqueue(job({.job = 2}));
  EXPECT_THAT(start_all(scheduler, noon), ElementsAre());

  scheduler.set_pool(pool("new", 2));
  EXPECT_EQ(scheduler.next(noon), (Decision{id<JobId>(2), "new"}));
}

TEST(FairShare, AJobInLineForAPoolThatGoesAwayWaitsForAnother) {
  FairShare scheduler;
  scheduler.set_pool(pool("here", 1));
  for (int i = 1; i <= 3; ++i) scheduler.enqueue(job({.job = i}));
  EXPECT_THAT(start_all(scheduler, noon), ElementsAre(1));

  scheduler.remove_pool("here");
  release(scheduler, {1}, noon + 1s);
  EXPECT_THAT(start_all(scheduler, noon + 1s), ElementsAre());
  scheduler.set_pool(pool("there", 2));
  EXPECT_THAT(start_all(scheduler, noon + 1s), ElementsAre(2, 3));
}

TEST(FairShare, ACanceledJobIsNotStartedAndARunningOneKeepsItsRunner) {
  FairShare scheduler;
  scheduler.set_pool(pool("here", 1));
  scheduler.enqueue(job({.job = 1}));
  scheduler.enqueue(job({.job = 2}));
  EXPECT_THAT(start_all(scheduler, noon), ElementsAre(1));

  scheduler.remove(id<JobId>(2), noon);
  scheduler.remove(id<JobId>(1), noon);
  EXPECT_EQ(scheduler.waiting(), 0u);
  EXPECT_EQ(scheduler.running(), 1u);
  release(scheduler, {1, 2}, noon);
  EXPECT_EQ(scheduler.running(), 0u);
}

TEST(FairShare, TellingItTwiceChangesNothing) {
  FairShare scheduler;
  scheduler.set_pool(pool("here", 1));
  scheduler.enqueue(job({.job = 1}));
  scheduler.enqueue(job({.job = 1}));
  EXPECT_EQ(scheduler.waiting(), 1u);
  EXPECT_THAT(start_all(scheduler, noon), ElementsAre(1));

  scheduler.enqueue(job({.job = 1}));
  scheduler.add_running(job({.job = 1}), "here", noon);
  EXPECT_EQ(scheduler.waiting(), 0u);
  EXPECT_EQ(scheduler.running(), 1u);
  release(scheduler, {1, 1}, noon + 1s);
  scheduler.enqueue(job({.job = 2}));
  scheduler.enqueue(job({.job = 3}));
  EXPECT_EQ(start_all(scheduler, noon + 1s).size(), 1u);
}

TEST(FairShare, ARunnerSomebodyElseStartedTakesTheJobOutOfLine) {
  FairShare scheduler;
  scheduler.set_pool(pool("here", 2));
  scheduler.enqueue(job({.job = 1}));
  scheduler.add_running(job({.job = 1}), "here", noon);
  scheduler.add_running(job({.job = 2}), "here", noon);
  scheduler.enqueue(job({.job = 3}));
  EXPECT_THAT(start_all(scheduler, noon), ElementsAre());
}

TEST(FairShare, AnOrganizationNeverHoldsMoreThanItsMaxShareButMayAlwaysRunOneJob) {
  FairShare scheduler;
  scheduler.set_pool(pool("here", 10));
  scheduler.set_organization(id<OrganizationId>(1), "acme", {.max_share = 0.3});
  scheduler.set_organization(id<OrganizationId>(2), "tiny", {.max_share = 0.01});
  for (int i = 1; i <= 9; ++i) scheduler.enqueue(job({.job = i, .organization = 1}));
  for (int i = 11; i <= 19; ++i) scheduler.enqueue(job({.job = i, .organization = 2}));

  EXPECT_EQ(start_all(scheduler, noon).size(), 4u);
  auto statistics = scheduler.statistics(noon);
  EXPECT_EQ(statistics[0].running, 3);
  EXPECT_EQ(statistics[1].running, 1);
  release(scheduler, {1}, noon + 1s);
  EXPECT_THAT(start_all(scheduler, noon + 1s), ElementsAre(4));
}

TEST(FairShare, AGuaranteeComesBeforeTheWeights) {
  FairShare scheduler;
  scheduler.set_pool(pool("here", 10));
  scheduler.set_organization(id<OrganizationId>(1), "small", {.weight = 0.01, .guaranteed_share = 0.4});
  for (int i = 1; i <= 20; ++i) scheduler.enqueue(job({.job = i, .organization = 1}));
  for (int i = 21; i <= 40; ++i) scheduler.enqueue(job({.job = i, .organization = 2}));

  start_all(scheduler, noon);
  EXPECT_EQ(scheduler.statistics(noon)[0].running, 4);
}

TEST(FairShare, KnowsNoMoreThanItsLimitAndSaysSo) {
  FairShare scheduler;
  auto q = job({});
  for (std::size_t i = 1; i <= max_jobs; ++i) {
    q.job = id<JobId>(i);
    ASSERT_TRUE(scheduler.enqueue(q));
  }
  q.job = id<JobId>(max_jobs + 1);
  EXPECT_FALSE(scheduler.enqueue(q));
  EXPECT_FALSE(scheduler.add_running(q, "here", noon));
  scheduler.remove(id<JobId>(1), noon);
  EXPECT_TRUE(scheduler.enqueue(q));
}

TEST(FairShare, ACopyDecidesAlikeAndApart) {
  FairShare scheduler;
  scheduler.set_pool(pool("here", 2));
  for (int i = 1; i <= 3; ++i) scheduler.enqueue(job({.job = i}));
  auto copy = scheduler;
  EXPECT_EQ(start_all(scheduler, noon), start_all(copy, noon));
  release(copy, {1}, noon);
  EXPECT_THAT(start_all(scheduler, noon), ElementsAre());
}

TEST(Statistics, OfPoolsAndOfWhatWaitsForThem) {
  FairShare scheduler;
  auto big = pool("big", 8), arm = pool("arm", 1);
  arm.labels = {"arm"};
  scheduler.set_pool(big);
  scheduler.set_pool(arm);
  auto on_arm = [](int n) {
    auto q = job({.job = n});
    q.shape.labels = {"arm"};
    return q;
  };
  for (int n = 1; n <= 3; ++n) scheduler.enqueue(on_arm(n));
  auto nowhere = job({.job = 4, .cpu = 64'000});
  scheduler.enqueue(nowhere);
  auto later = on_arm(5);
  later.not_before = noon + 1h;
  scheduler.enqueue(later);
  EXPECT_EQ(start_all(scheduler, noon).size(), 1u);

  EXPECT_EQ(scheduler.pool_statistics(), (std::vector<PoolStatistics>{{"arm", arm.capacity, {1000, GiB, 1}}, {"big", big.capacity, {}}}));
  auto queue = scheduler.queue_statistics(noon + 20s);
  ASSERT_EQ(queue.size(), 2u);
  EXPECT_EQ(queue[0], (ShapeStatistics{on_arm(1).shape, 2, 20s, {"arm"}}));
  EXPECT_EQ(queue[1], (ShapeStatistics{nowhere.shape, 1, 20s, {}}));
}

TEST(Pools, ThreeOfDifferentSizesShareTheWorkByTheirRoom) {
  FairShare scheduler;
  std::map<std::string, int> slots{{"small", 2}, {"middle", 5}, {"large", 13}}, started;
  for (auto& [name, n] : slots) scheduler.set_pool(pool(name, n));
  for (int n = 1; n <= 30; ++n) scheduler.enqueue(job({.job = n}));
  while (auto decision = scheduler.next(noon)) ++started[decision->pool];
  EXPECT_EQ(started, slots);

  auto gone = pool("large", 13);
  gone.silent = true;
  scheduler.set_pool(gone);
  for (int n = 1; n <= 20; ++n) scheduler.released(id<JobId>(std::uint64_t(n)), noon);
  started.clear();
  while (auto decision = scheduler.next(noon)) ++started[decision->pool];
  EXPECT_EQ(started, (std::map<std::string, int>{{"small", 2}, {"middle", 5}}));
}

}  // namespace
}  // namespace mayfly::scheduling::test
