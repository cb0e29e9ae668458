// Big jobs among small ones: passed over for a minute while they are next, a pool is kept free for them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "domain/scheduling/test_world.h"

namespace mayfly::scheduling::test {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;

/// A pool kept busy by one-cpu jobs of 10 s that never run out, and what else is put in line.
class BusyPool {
 public:
  explicit BusyPool(int cpus) {
    scheduler.set_pool(pool("here", cpus));
    for (int i = 0; i < cpus * 2; ++i) another_small();
  }

  void another_small() { scheduler.enqueue(job({.job = next_++, .organization = 1, .queued_at = now})); }

  /// A second passes: jobs end, others start. The numbers of those started.
  std::vector<int> second() {
    now += 1s;
    while (!ends_.empty() && ends_.begin()->first <= now) {
      release(scheduler, {ends_.begin()->second}, now);
      ends_.erase(ends_.begin());
    }
    auto started = start_all(scheduler, now);
    for (int n : started) {
      if (n < big) another_small();
      // Staggered, so that runners do not all come free at once.
      ends_.emplace(now + 8s + n % 5 * 1s, n);
    }
    return started;
  }

  std::optional<Time> started(int wanted, Duration patience) {
    for (auto until = now + patience; now < until;)
      if (std::ranges::count(second(), wanted)) return now;
    return std::nullopt;
  }

  static constexpr int big = 1'000'000;
  FairShare scheduler;
  Time now = noon;

 private:
  int next_ = 1;
  std::multimap<Time, int> ends_;
};

TEST(Reserve, ABigJobGetsItsRunnerAMinuteAndAJobsLengthAfterItWasNext) {
  BusyPool world(8);
  for (int i = 0; i < 30; ++i) world.second();
  world.scheduler.enqueue(job({.job = BusyPool::big, .organization = 2, .cpu = 8000, .queued_at = world.now}));
  auto asked = world.now;
  auto got = world.started(BusyPool::big, 10min);
  ASSERT_TRUE(got);
  EXPECT_GE(*got - asked, reserve_after);
  EXPECT_LE(*got - asked, reserve_after + 2 * reserve_check + 15s);
}

TEST(Reserve, WhileAPoolIsKeptFreeWhatIsBeyondTheNeedOfTheBigJobIsUsed) {
  FairShare scheduler;
  scheduler.set_pool(pool("here", 8));
  for (int i = 1; i <= 20; ++i) scheduler.enqueue(job({.job = i}));
  start_all(scheduler, noon);
  scheduler.enqueue(job({.job = 100, .organization = 2, .cpu = 6000, .queued_at = noon}));
  release(scheduler, {1}, noon + 1s);
  EXPECT_THAT(start_all(scheduler, noon + 1s), ElementsAre(9));

  auto now = noon + 2s + reserve_after;  // from here on 6 of 8 cpus are kept
  std::vector<int> beside;
  for (int i = 2; i <= 7; ++i) {
    release(scheduler, {i}, now);
    for (int started : start_all(scheduler, now)) beside.push_back(started);
  }
  EXPECT_THAT(beside, ElementsAre(10, 11));
  release(scheduler, {8, 9}, now);
  EXPECT_THAT(start_all(scheduler, now), ElementsAre(100));
}

TEST(Reserve, SmallJobsAreToldForWhomThePoolIsKept) {
  FairShare scheduler;
  scheduler.set_organization(id<OrganizationId>(1), "acme", {});
  scheduler.set_pool(pool("here", 4));
  for (int i = 1; i <= 9; ++i) scheduler.enqueue(job({.job = i}));
  start_all(scheduler, noon);
  scheduler.enqueue(job({.job = 100, .organization = 2, .cpu = 4000, .queued_at = noon}));
  start_all(scheduler, noon);
  release(scheduler, {1}, noon + 1s);
  start_all(scheduler, noon + 1s);
  release(scheduler, {2}, noon + 62s);
  EXPECT_THAT(start_all(scheduler, noon + 62s), ElementsAre());
  EXPECT_EQ(scheduler.why(id<JobId>(6), noon + 62s).sentence,
            "1st of 4 in acme; here is kept free for a job that needs 4 cpu and 1 GiB");
}

TEST(Reserve, WhenTheBigJobIsCanceledThePoolIsForEverybodyAgain) {
  FairShare scheduler;
  scheduler.set_pool(pool("here", 4));
  for (int i = 1; i <= 9; ++i) scheduler.enqueue(job({.job = i}));
  start_all(scheduler, noon);
  scheduler.enqueue(job({.job = 100, .organization = 2, .cpu = 4000, .queued_at = noon}));
  release(scheduler, {1}, noon + 1s);
  start_all(scheduler, noon + 1s);
  release(scheduler, {2}, noon + 62s);
  ASSERT_THAT(start_all(scheduler, noon + 62s), ElementsAre());

  scheduler.remove(id<JobId>(100), noon + 63s);
  EXPECT_THAT(start_all(scheduler, noon + 63s), ElementsAre(6));
}

TEST(Reserve, ABigJobWhoseOrganizationHasHadItsShareIsNotPassedOverUnfairly) {
  BusyPool world(8);
  // Organization 2 holds more than its half all the time: fair order does not want its big job.
  world.scheduler.set_pool(pool("other", 16));
  auto pinned = job({.job = BusyPool::big + 1, .organization = 2, .cpu = 16'000});
  world.scheduler.add_running(pinned, "other", noon);
  world.scheduler.enqueue(job({.job = BusyPool::big, .organization = 2, .cpu = 8000, .queued_at = world.now}));
  EXPECT_EQ(world.started(BusyPool::big, 5min), std::nullopt);
}

TEST(Reserve, TwoBigShapesAreServedOneAfterTheOther) {
  BusyPool world(8);
  for (int i = 0; i < 30; ++i) world.second();
  world.scheduler.enqueue(job({.job = BusyPool::big, .organization = 2, .cpu = 8000, .queued_at = world.now}));
  world.scheduler.enqueue(job({.job = BusyPool::big + 1, .organization = 3, .cpu = 7000, .queued_at = world.now}));
  EXPECT_TRUE(world.started(BusyPool::big, 5min));
  EXPECT_TRUE(world.started(BusyPool::big + 1, 5min));
}

}  // namespace
}  // namespace mayfly::scheduling::test
