// Seeds. MAYFLY_SIM_SEEDS sets how many fresh ones a scenario gets; MAYFLY_SIM_SEED (with MAYFLY_SIM_SCENARIO) replays one.

#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <iostream>

#include "base/log.h"
#include "simulation/world.h"

namespace mayfly::simulation {
namespace {

// Seeds that once found something.
constexpr std::uint64_t corpus[] = {1, 2, 3};

std::optional<std::uint64_t> number_from(const char* name) {
  auto* text = std::getenv(name);
  if (!text) return std::nullopt;
  return std::strtoull(text, nullptr, 10);
}

void check(std::uint64_t seed, const Faults& faults) {
  auto report = simulate(seed, faults);
  for (auto& violation : report.violations) ADD_FAILURE() << violation;
  if (report.violations.empty()) return;
  auto tail = report.trace.size() > 6000 ? report.trace.substr(report.trace.size() - 6000) : report.trace;
  FAIL() << tail << "\nreplay: MAYFLY_SIM_SEED=" << seed << " MAYFLY_SIM_SCENARIO=" << faults.name << " simulation_test";
}

struct Simulation : testing::TestWithParam<Faults> {
  static void SetUpTestSuite() { set_log_level(Level::error); }
};

TEST_P(Simulation, KeepsItsPromises) {
  auto only = std::getenv("MAYFLY_SIM_SCENARIO");
  if (only && GetParam().name != only) GTEST_SKIP() << "another scenario is replayed";
  if (auto seed = number_from("MAYFLY_SIM_SEED")) return check(*seed, GetParam());
  for (auto seed : corpus) check(seed, GetParam());
  auto fresh = number_from("MAYFLY_SIM_SEEDS").value_or(5);
  auto first = std::uint64_t(std::chrono::system_clock::now().time_since_epoch().count());
  for (std::uint64_t i = 0; i < fresh && !HasFailure(); ++i) check(first + i, GetParam());
}

TEST_P(Simulation, TheSameSeedGivesTheSameRun) {
  auto first = simulate(42, GetParam(), 4), second = simulate(42, GetParam(), 4);
  EXPECT_FALSE(first.trace.empty());
  EXPECT_EQ(first.trace, second.trace);
  EXPECT_EQ(first.crashes, second.crashes);
}

INSTANTIATE_TEST_SUITE_P(Scenarios, Simulation, testing::ValuesIn(scenarios), [](auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace mayfly::simulation
