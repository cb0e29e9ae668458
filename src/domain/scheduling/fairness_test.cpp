// What the scheduler promises over time, on a simulated cluster: shares, bursts, and that nothing starves.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "domain/scheduling/test_world.h"

namespace mayfly::scheduling::test {
namespace {

using namespace std::chrono_literals;

/// A cluster in virtual time. Jobs run as long as told; what each organization holds is summed up.
class Cluster {
 public:
  explicit Cluster(int slots) { scheduler.set_pool(pool("here", slots)); }

  void submit(JobLine line, Duration runs) {
    line.job = next_++;
    line.queued_at = now;
    runs_[line.job] = {line.organization, runs, now};
    scheduler.enqueue(job(line));
  }

  /// Runs on to `until`; `each_second` may submit more.
  template <class EachSecond>
  void run(Time until, EachSecond each_second) {
    for (; now < until; now += 1s) {
      for (auto end = ends_.begin(); end != ends_.end() && end->first <= now; end = ends_.erase(end)) {
        --holds[runs_[end->second].organization];
        release(scheduler, {end->second}, now);
      }
      each_second();
      for (int started : start_all(scheduler, now)) {
        auto& job = runs_[started];
        ++holds[job.organization];
        longest_wait = std::max(longest_wait, now - job.queued_at);
        ends_.emplace(now + job.runs, started);
        started_.push_back(started);
      }
      for (auto& [organization, held] : holds) had[organization] += held;
    }
  }
  void run(Time until) {
    run(until, [] {});
  }

  FairShare scheduler;
  Time now = noon;
  std::map<int, int> holds;       // runners by organization, now
  std::map<int, double> had;      // runner-seconds by organization
  Duration longest_wait{};

 private:
  struct Run {
    int organization;
    Duration runs;
    Time queued_at;
  };
  int next_ = 1;
  std::map<int, Run> runs_;
  std::multimap<Time, int> ends_;
  std::vector<int> started_;
};

/// Jain's index of what each of those had: 1 when all had the same, 1/n when one had everything.
double jain(const std::vector<double>& had) {
  double sum = 0, squares = 0;
  for (double x : had) sum += x, squares += x * x;
  return sum * sum / (double(had.size()) * squares);
}

TEST(Fairness, ABurstOf3000JobsLeavesEverybodyTheirShareWithinAMinute) {
  constexpr int organizations = 20, slots = 200;
  Cluster cluster(slots);
  std::mt19937 random(1);
  auto run_time = [&] { return std::chrono::seconds(5 + random() % 40); };
  for (int i = 0; i < 3000; ++i) cluster.submit({.organization = 1}, run_time());
  cluster.run(noon + 5s);  // the burst has the whole cluster
  EXPECT_EQ(cluster.holds[1], slots);

  for (int o = 2; o <= organizations; ++o)
    for (int i = 0; i < 200; ++i) cluster.submit({.organization = o}, run_time());
  cluster.run(noon + 55s);
  cluster.had.clear();
  cluster.run(noon + 65s);
  std::vector<double> had;
  for (int o = 1; o <= organizations; ++o) had.push_back(cluster.had[o]);
  EXPECT_GE(jain(had), 0.98);
}

TEST(Fairness, AnOrganizationWithAFewJobsHardlyNoticesAnothersBurst) {
  Cluster cluster(50);
  for (int i = 0; i < 3000; ++i) cluster.submit({.organization = 1}, 10s);
  cluster.run(noon + 25s);
  cluster.longest_wait = {};
  Duration longest{};
  for (int i = 0; i < 30; ++i) {
    auto asked = cluster.now;
    cluster.submit({.organization = 2}, 5s);
    auto before = cluster.holds[2];
    while (cluster.holds[2] == before && cluster.now < asked + 1min) cluster.run(cluster.now + 1s);
    longest = std::max(longest, cluster.now - asked);
    cluster.run(cluster.now + 6s);
  }
  EXPECT_LE(longest, 11s);  // a turnover of one runner
}

TEST(Fairness, WeightsHoldOverALongRun) {
  for (int slots : {8, 30, 100}) {
    Cluster cluster(slots);
    std::mt19937 random(unsigned(slots) + 1);
    std::map<int, double> weights = {{1, 1}, {2, 2}, {3, 5}};
    for (auto [o, weight] : weights) cluster.scheduler.set_organization(id<OrganizationId>(std::uint64_t(o)), "o", {.weight = weight});
    cluster.run(noon + 2h, [&] {
      for (auto [o, weight] : weights)
        while (cluster.scheduler.statistics(cluster.now).size() < std::size_t(o) ||
               cluster.scheduler.statistics(cluster.now)[std::size_t(o - 1)].waiting < 5)
          cluster.submit({.organization = o}, std::chrono::seconds(5 + random() % 60));
    });
    double all = cluster.had[1] + cluster.had[2] + cluster.had[3];
    for (auto [o, weight] : weights) EXPECT_NEAR(cluster.had[o] / all, weight / 8, 0.02) << o << " on " << slots;
  }
}

TEST(Fairness, OnOneSlotTurnsFollowTheWeights) {
  Cluster cluster(1);
  cluster.scheduler.set_organization(id<OrganizationId>(1), "light", {.weight = 1});
  cluster.scheduler.set_organization(id<OrganizationId>(2), "heavy", {.weight = 3});
  for (int i = 0; i < 2000; ++i)
    for (int o : {1, 2}) cluster.submit({.organization = o}, 10s);
  cluster.run(noon + 2h);
  EXPECT_NEAR(cluster.had[2] / (cluster.had[1] + cluster.had[2]), 0.75, 0.02);
}

TEST(Fairness, ALowPriorityJobStartsInTheEndThoughHigherOnesNeverStop) {
  Cluster cluster(4);
  cluster.submit({.build = 1, .priority = Priority::low}, 10s);
  int builds = 1;
  cluster.run(noon + 1h, [&] {
    for (int i = 0; i < 2; ++i) cluster.submit({.build = ++builds, .priority = Priority::high}, 10s);
  });
  EXPECT_NE(cluster.scheduler.why(id<JobId>(1), cluster.now).kind, WaitReason::Kind::capacity);
  EXPECT_EQ(cluster.scheduler.why(id<JobId>(1), cluster.now).kind, WaitReason::Kind::unknown);
}

TEST(Fairness, AProjectWithManyJobsDoesNotHoldUpItsSiblings) {
  Cluster cluster(10);
  for (int i = 0; i < 1000; ++i) cluster.submit({.project = 11}, 10s);
  cluster.run(noon + 15s);
  for (int i = 0; i < 3; ++i) cluster.submit({.project = 12}, 10s);
  auto small = cluster.scheduler.waiting();
  cluster.run(noon + 21s);
  EXPECT_LT(cluster.scheduler.waiting(), small);
  EXPECT_EQ(cluster.scheduler.why(id<JobId>(1003), cluster.now).kind, WaitReason::Kind::running);
}

TEST(Fairness, YearsGoByWithoutLosingTheOrder) {
  Cluster cluster(4);
  cluster.scheduler.set_organization(id<OrganizationId>(2), "heavy", {.weight = 3});
  for (int year = 0; year < 5; ++year) {
    cluster.now += 365 * 24h;
    for (int i = 0; i < 8; ++i)
      for (int o : {1, 2}) cluster.submit({.organization = o}, 10s);
    cluster.run(cluster.now + 1s);
    EXPECT_EQ(cluster.holds[1], 1);
    EXPECT_EQ(cluster.holds[2], 3);
    cluster.run(cluster.now + 1min);
    EXPECT_EQ(cluster.scheduler.running(), 0u);
  }
}

}  // namespace
}  // namespace mayfly::scheduling::test
