#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "domain/scheduling/explain.h"
#include "domain/scheduling/test_world.h"

namespace mayfly::scheduling::test {
namespace {

using namespace std::chrono_literals;
using Kind = WaitReason::Kind;

FairShare acme_with(PoolState pool) {
  FairShare scheduler;
  scheduler.set_organization(id<OrganizationId>(1), "acme", {});
  scheduler.set_pool(std::move(pool));
  return scheduler;
}

std::string why(FairShare& scheduler, int job, Time now = noon) {
  return scheduler.why(id<JobId>(std::uint64_t(job)), now).sentence;
}

TEST(Why, NamesTheJobsPlaceAndTheRunnerItNeeds) {
  auto scheduler = acme_with(pool("here", 4));
  scheduler.enqueue(job({.job = 1, .cpu = 4000}));
  start_all(scheduler, noon);
  for (int i = 2; i <= 10; ++i) scheduler.enqueue(job({.job = i, .cpu = 2000, .queued_at = noon + i * 1ms}));

  EXPECT_EQ(why(scheduler, 2), "1st of 9 in acme; a runner with 2 cpu");
  EXPECT_EQ(why(scheduler, 3), "2nd of 9 in acme; a runner with 2 cpu");
  EXPECT_EQ(why(scheduler, 10), "9th of 9 in acme; a runner with 2 cpu");
  auto reason = scheduler.why(id<JobId>(4), noon);
  EXPECT_EQ(reason.kind, Kind::capacity);
  EXPECT_EQ(reason.place, 3);
  EXPECT_EQ(reason.line, 9);
}

TEST(Why, NamesWhatIsShort) {
  auto scheduler = acme_with(pool("here", 4, 8 * GiB, 2));
  scheduler.enqueue(job({.job = 1, .cpu = 1000, .memory = 7 * GiB}));
  start_all(scheduler, noon);
  scheduler.enqueue(job({.job = 2, .cpu = 1000, .memory = 2 * GiB}));
  scheduler.enqueue(job({.job = 3, .cpu = 4000, .memory = 1 * GiB}));
  scheduler.enqueue(job({.job = 4, .cpu = 3500, .memory = 3 * GiB / 2}));
  EXPECT_THAT(why(scheduler, 2), testing::EndsWith("; a runner with 2 GiB"));
  EXPECT_THAT(why(scheduler, 3), testing::EndsWith("; a runner with 4 cpu"));
  EXPECT_THAT(why(scheduler, 4), testing::EndsWith("; a runner with 3.5 cpu and 1.5 GiB"));

  scheduler.enqueue(job({.job = 5, .cpu = 100, .memory = GiB / 2}));
  start_all(scheduler, noon);
  scheduler.enqueue(job({.job = 6, .cpu = 100, .memory = GiB / 4}));
  EXPECT_THAT(why(scheduler, 6), testing::EndsWith("; a free slot in a pool"));
}

TEST(Why, NamesTheLabelsOfTheRunnerItNeeds) {
  auto gpu = pool("gpus", 2);
  gpu.labels = {"gpu", "big"};
  auto scheduler = acme_with(gpu);
  auto q = job({.job = 1, .cpu = 2000});
  q.shape.labels = {"gpu"};
  scheduler.enqueue(q);
  start_all(scheduler, noon);
  q.job = id<JobId>(2);
  scheduler.enqueue(q);
  EXPECT_EQ(why(scheduler, 2), "1st of 1 in acme; a runner with label gpu and 2 cpu");
}

TEST(Why, ARetryKnowsWhenItsBackoffEnds) {
  auto scheduler = acme_with(pool("here", 4));
  auto q = job({.job = 1});
  q.not_before = noon + 5s;
  scheduler.enqueue(q);
  EXPECT_EQ(why(scheduler, 1), "not before 12:00:05 UTC (retry backoff)");
  EXPECT_EQ(why(scheduler, 1, noon - 24h), "not before 2026-03-01 12:00:05 UTC (retry backoff)");
  EXPECT_THAT(why(scheduler, 1, noon + 5s), testing::StartsWith("1st of 1 in acme; a runner is free"));
}

TEST(Why, AMatrixJobKnowsItsLimit) {
  auto scheduler = acme_with(pool("here", 40));
  for (int i = 1; i <= 9; ++i) {
    auto q = job({.job = i});
    q.matrix_group = "test", q.max_parallel = 4;
    scheduler.enqueue(q);
  }
  start_all(scheduler, noon);
  EXPECT_EQ(why(scheduler, 9), "max_parallel 4 of test: 4 running");
}

TEST(Why, BehindAMatrixThatFindsNoRoomTheReasonIsTheRoom) {
  auto scheduler = acme_with(pool("here", 1));
  for (int i = 1; i <= 3; ++i) {
    auto q = job({.job = i});
    q.matrix_group = "test", q.max_parallel = 2;
    scheduler.enqueue(q);
  }
  start_all(scheduler, noon);
  EXPECT_EQ(why(scheduler, 2), "1st of 1 in acme; a runner with 1 cpu");
  EXPECT_EQ(why(scheduler, 3), "a runner with 1 cpu");
}

TEST(Why, ALabelNoPoolHasIsNamed) {
  auto scheduler = acme_with(pool("here", 4));
  auto q = job({.job = 1});
  q.shape.labels = {"gpu"};
  scheduler.enqueue(q);
  EXPECT_EQ(why(scheduler, 1), "no pool has label gpu");
  q.job = id<JobId>(2);
  q.shape.labels = {"gpu", "arm"};
  scheduler.enqueue(q);
  EXPECT_EQ(why(scheduler, 2), "no pool has labels arm and gpu");
}

TEST(Why, AnIsolationThatNoPoolOffersIsNamedBesideThoseThereAre) {
  auto other = pool("other", 4);
  other.isolations = {Isolation::runc, Isolation::sandbox};
  auto scheduler = acme_with(pool("here", 4));
  scheduler.set_pool(other);
  auto q = job({.job = 1});
  q.shape.isolation = Isolation::gvisor;
  scheduler.enqueue(q);
  EXPECT_EQ(why(scheduler, 1), "no pool offers gvisor: there is sandbox and runc");
}

TEST(Why, AFloorThatItsPoolCannotServeIsNamed) {
  auto here = pool("here", 4);
  here.fork_floor = Isolation::gvisor;
  auto scheduler = acme_with(here);
  auto q = job({.job = 1});
  q.shape.fork = true;
  scheduler.enqueue(q);
  EXPECT_EQ(why(scheduler, 1), "pool here wants at least gvisor for builds of forks and offers sandbox");
  here.floor = Isolation::kata;
  scheduler.set_pool(here);
  EXPECT_EQ(why(scheduler, 1), "pool here wants at least kata and offers sandbox");
}

TEST(Why, IsolationThatOnlyPoolsWithoutTheLabelOfferIsNamed) {
  auto gpu = pool("gpu", 4), strong = pool("strong", 4);
  gpu.labels = {"gpu"};
  strong.isolations.push_back(Isolation::gvisor);
  auto scheduler = acme_with(gpu);
  scheduler.set_pool(strong);
  auto q = job({.job = 1});
  q.shape.labels = {"gpu"};
  q.shape.isolation = Isolation::gvisor;
  scheduler.enqueue(q);
  EXPECT_EQ(why(scheduler, 1), "no pool with label gpu offers gvisor: there is sandbox");
}

TEST(Why, LabelsThatOnlyDifferentPoolsHaveAreSaidToBeApart) {
  auto arm = pool("arm", 4), gpu = pool("gpu", 4);
  arm.labels = {"arm"}, gpu.labels = {"gpu"};
  auto scheduler = acme_with(arm);
  scheduler.set_pool(gpu);
  auto q = job({.job = 1});
  q.shape.labels = {"gpu", "arm"};
  scheduler.enqueue(q);
  EXPECT_EQ(why(scheduler, 1), "no single pool has labels arm and gpu");
}

TEST(Why, AJobLargerThanEveryPoolIsToldHowLargeTheyAre) {
  auto scheduler = acme_with(pool("here", 4, 8 * GiB));
  scheduler.set_pool(pool("there", 8, 4 * GiB));
  scheduler.enqueue(job({.job = 1, .memory = 64 * GiB}));
  scheduler.enqueue(job({.job = 2, .cpu = 16'000}));
  scheduler.enqueue(job({.job = 3, .cpu = 8'000, .memory = 8 * GiB}));
  EXPECT_EQ(why(scheduler, 1), "needs 64 GiB; the largest pool has 8 GiB");
  EXPECT_EQ(why(scheduler, 2), "needs 16 cpu; the largest pool has 8 cpu");
  EXPECT_EQ(why(scheduler, 3), "needs 8 cpu and 8 GiB; no single pool has both");
}

TEST(Why, WithoutAPoolThereIsNothingToWaitFor) {
  FairShare scheduler;
  scheduler.enqueue(job({.job = 1}));
  EXPECT_EQ(why(scheduler, 1), "no pool is connected");
  auto old = pool("old", 4);
  old.draining = true;
  scheduler.set_pool(old);
  EXPECT_EQ(why(scheduler, 1), "pool old is draining");
}

TEST(Why, PoolsThatTakeNothingAreNamed) {
  auto first = pool("first", 4), second = pool("second", 4), third = pool("third", 4);
  first.draining = second.draining = true;
  third.silent = true;
  auto scheduler = acme_with(first);
  scheduler.set_pool(second);
  scheduler.enqueue(job({.job = 1}));
  EXPECT_EQ(why(scheduler, 1), "pools first and second are draining");
  scheduler.set_pool(third);
  EXPECT_EQ(why(scheduler, 1), "pools first and second are draining and pool third has not been heard of");
  EXPECT_TRUE(start_all(scheduler, noon).empty());
  third.silent = false;
  scheduler.set_pool(third);
  EXPECT_EQ(start_all(scheduler, noon), (std::vector{1}));
}

TEST(Why, AnOrganizationAtItsLimitIsToldIt) {
  auto scheduler = acme_with(pool("here", 10));
  scheduler.set_organization(id<OrganizationId>(1), "acme", {.max_share = 0.2});
  for (int i = 1; i <= 3; ++i) scheduler.enqueue(job({.job = i}));
  start_all(scheduler, noon);
  EXPECT_EQ(why(scheduler, 3), "1st of 1 in acme; acme holds as much as it may, 20 % of all runners");
}

TEST(Why, OfJobsThatDoNotWait) {
  auto scheduler = acme_with(pool("here", 10));
  scheduler.enqueue(job({.job = 1}));
  start_all(scheduler, noon);
  EXPECT_EQ(why(scheduler, 1), "running in here");
  EXPECT_EQ(why(scheduler, 2), "not waiting for a runner");
  EXPECT_EQ(scheduler.why(id<JobId>(2), noon).kind, Kind::unknown);
}

TEST(Why, InALongLineThePlaceMayBeASecondOld) {
  auto scheduler = acme_with(pool("here", 1));
  for (int i = 1; i <= places_exact_up_to + 2; ++i) scheduler.enqueue(job({.job = i, .queued_at = noon + i * 1us}));
  start_all(scheduler, noon + 1s);
  int last = places_exact_up_to + 2;
  EXPECT_EQ(scheduler.why(id<JobId>(std::uint64_t(last)), noon + 1s).place, last - 1);
  scheduler.remove(id<JobId>(2), noon + 1s);
  EXPECT_EQ(scheduler.why(id<JobId>(std::uint64_t(last)), noon + 1500ms).place, last - 1);
  EXPECT_EQ(scheduler.why(id<JobId>(std::uint64_t(last)), noon + 2s).place, last - 2);
}

TEST(Why, InALineUpToTheLimitThePlaceIsOfNow) {
  auto scheduler = acme_with(pool("here", 1));
  for (int i = 1; i <= places_exact_up_to + 1; ++i) scheduler.enqueue(job({.job = i, .queued_at = noon + i * 1us}));
  start_all(scheduler, noon + 1s);
  int last = places_exact_up_to + 1;
  EXPECT_EQ(scheduler.why(id<JobId>(std::uint64_t(last)), noon + 1s).place, last - 1);
  scheduler.remove(id<JobId>(2), noon + 1s);
  EXPECT_EQ(scheduler.why(id<JobId>(std::uint64_t(last)), noon + 1s).place, last - 2);
}

TEST(Explain, AmountsReadAsPeopleWriteThem) {
  EXPECT_EQ(format_cpu(2000), "2 cpu");
  EXPECT_EQ(format_cpu(250), "0.25 cpu");
  EXPECT_EQ(format_memory(64 * GiB), "64 GiB");
  EXPECT_EQ(format_memory(GiB / 2), "512 MiB");
  EXPECT_EQ(format_memory(3 * GiB / 2), "1.5 GiB");
  EXPECT_EQ(format_memory(100), "0.098 KiB");
  EXPECT_EQ(ordinal(1), "1st");
  EXPECT_EQ(ordinal(12), "12th");
  EXPECT_EQ(ordinal(22), "22nd");
  EXPECT_EQ(ordinal(113), "113th");
  EXPECT_EQ(ordinal(103), "103rd");
  EXPECT_EQ(list_of({"a", "b", "c"}), "a, b and c");
}

}  // namespace
}  // namespace mayfly::scheduling::test
