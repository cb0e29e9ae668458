#include "domain/scheduling/account.h"

#include <gtest/gtest.h>

#include "domain/scheduling/contenders.h"
#include "domain/scheduling/test_world.h"

namespace mayfly::scheduling::test {
namespace {

using namespace std::chrono_literals;

const Resources one_cpu{1000, 0, 0}, ten_cpus{10'000, 0, 0};

TEST(Growth, DoublesEveryHalfLife) {
  Growth growth;
  double before = growth.at(noon);
  EXPECT_NEAR(growth.at(noon + usage_half_life) / before, 2, 1e-9);
  EXPECT_NEAR(growth.at(noon + 2 * usage_half_life) / before, 4, 1e-9);
}

TEST(Growth, MovesItsOriginBeforeNumbersRunOut) {
  Growth growth;
  double before = growth.at(noon);
  auto later = noon + 70 * usage_half_life;
  ASSERT_TRUE(growth.far(later));
  double factor = growth.rebase(later);
  EXPECT_NEAR(growth.at(later), before, 1e-9);
  EXPECT_NEAR(growth.at(noon) / factor, before, 1e-9);
  EXPECT_FALSE(growth.far(later));
}

TEST(Account, UsageIsWhatWasHeldFadingByHalfEveryHalfLife) {
  Growth growth;
  Account account;
  account.hold(one_cpu, growth.at(noon));
  account.release(one_cpu, growth.at(noon + 60s));
  double cpu_seconds = account.used(growth.at(noon + 60s))[0] / 1000;
  EXPECT_NEAR(cpu_seconds, 60, 1);
  double faded = account.used(growth.at(noon + 60s + usage_half_life))[0] / 1000;
  EXPECT_NEAR(faded, cpu_seconds / 2, 1e-6);
}

TEST(Account, TheClosedFormIsTheSumOfManySmallSteps) {
  Growth growth;
  Account account;
  account.hold(one_cpu, growth.at(noon));
  double sum = 0;
  const double fade = std::exp2(-1.0 / std::chrono::duration<double>(usage_half_life).count());
  for (int second = 0; second < 7200; ++second) sum = sum * fade + 1000 * (1 + fade) / 2;
  EXPECT_NEAR(account.used(growth.at(noon + 7200s))[0] / sum, 1, 1e-6);
}

TEST(Account, AShareGrowsWithWhatIsHeldAndShrinksWithTheWeight) {
  Growth growth;
  double now = growth.at(noon);
  Account one, two, heavy;
  heavy.set_weight(2);
  one.hold(one_cpu, now);
  two.hold(one_cpu + one_cpu, now);
  heavy.hold(one_cpu + one_cpu, now);
  EXPECT_FLOAT_EQ(two.share(now, ten_cpus), 2 * one.share(now, ten_cpus));
  EXPECT_EQ(heavy.share(now, ten_cpus), one.share(now, ten_cpus));
  EXPECT_DOUBLE_EQ(two.held_share(ten_cpus), 0.2);
}

TEST(Account, AShareNeverFallsWhileNothingHappens) {
  Growth growth;
  Account account;
  account.hold(one_cpu, growth.at(noon));
  float before = 0;
  for (auto t = noon; t < noon + 4h; t += 7min) {
    float share = account.share(growth.at(t), ten_cpus);
    EXPECT_GE(share, before);
    before = share;
  }
}

TEST(Account, WhatIsRestoredCountsRunningJobsOnce) {
  Growth growth;
  Account first, second;
  first.hold(one_cpu, growth.at(noon));
  auto later = growth.at(noon + 10min);
  second.set_used(first.used(later), later);
  second.hold(one_cpu, growth.at(noon));
  EXPECT_EQ(second.share(later, ten_cpus), first.share(later, ten_cpus));
  auto end = growth.at(noon + 20min);
  EXPECT_EQ(second.share(end, ten_cpus), first.share(end, ten_cpus));
}

struct Contender {
  Account account;
  Standing standing;
};

TEST(Contenders, ANewcomerStartsWhereTheLeastOfTheOthersIs) {
  Growth growth;
  std::vector<Contender> all(3);
  Contenders contenders;
  for (Index i : {0, 1}) contenders.enter(i, all);
  contenders.settle(all, growth.at(noon), ten_cpus);
  all[0].account.hold(one_cpu + one_cpu, growth.at(noon));
  all[1].account.hold(one_cpu, growth.at(noon));

  auto later = growth.at(noon + 10min);
  contenders.enter(2, all);
  contenders.settle(all, later, ten_cpus);
  EXPECT_DOUBLE_EQ(all[2].account.used_share(later, ten_cpus), all[1].account.used_share(later, ten_cpus));
}

TEST(Contenders, AfterTheLastHasLeftTheNextStartsWhereItWas) {
  Growth growth;
  std::vector<Contender> all(2);
  Contenders contenders;
  contenders.enter(0, all);
  contenders.settle(all, growth.at(noon), ten_cpus);
  all[0].account.hold(one_cpu, growth.at(noon));
  auto later = growth.at(noon + 10min);
  all[0].account.release(one_cpu, later);
  contenders.leave(0, all, later, ten_cpus);

  contenders.enter(1, all);
  contenders.settle(all, later, ten_cpus);
  EXPECT_DOUBLE_EQ(all[1].account.used_share(later, ten_cpus), all[0].account.used_share(later, ten_cpus));
}

}  // namespace
}  // namespace mayfly::scheduling::test
