// Seeds of the log path. MAYFLY_SIM_SEEDS sets how many fresh ones a scenario gets; MAYFLY_SIM_SEED (with MAYFLY_SIM_SCENARIO)
// replays one.

#include "simulation/log_path.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <optional>

#include "base/log.h"

namespace mayfly::simulation {
namespace {

// Seeds that once found something.
constexpr std::uint64_t corpus[] = {1, 2, 3};

std::optional<std::uint64_t> number_from(const char* name) {
  auto* text = std::getenv(name);
  if (!text) return std::nullopt;
  return std::strtoull(text, nullptr, 10);
}

void check(std::uint64_t seed, const LogFaults& faults) {
  auto report = simulate_logs(seed, faults);
  for (auto& violation : report.violations) ADD_FAILURE() << violation;
  if (std::getenv("MAYFLY_SIM_TELL"))
    std::printf("%s %llu: %.1f MB written, %.2f × sent, %d rewinds, %d deaths, %d stops, %d emptied\n", faults.world.name.data(), (unsigned long long)seed,
                double(report.bytes) / 1e6, double(report.sent) / double(report.bytes), report.resent, report.deaths, report.stops, report.emptied);
  if (report.violations.empty()) return;
  auto tail = report.trace.size() > 6000 ? report.trace.substr(report.trace.size() - 6000) : report.trace;
  FAIL() << tail << "\nreplay: MAYFLY_SIM_SEED=" << seed << " MAYFLY_SIM_SCENARIO=" << faults.world.name << " simulation_test --gtest_filter='*LogPath*'";
}

struct LogPath : testing::TestWithParam<LogFaults> {
  static void SetUpTestSuite() { set_log_level(Level::error); }
};

TEST_P(LogPath, EveryByteArrivesOnce) {
  auto only = std::getenv("MAYFLY_SIM_SCENARIO");
  if (only && GetParam().world.name != only) GTEST_SKIP() << "another scenario is replayed";
  if (auto seed = number_from("MAYFLY_SIM_SEED")) return check(*seed, GetParam());
  for (auto seed : corpus) check(seed, GetParam());
  auto fresh = number_from("MAYFLY_SIM_SEEDS").value_or(3);
  auto first = std::uint64_t(std::chrono::system_clock::now().time_since_epoch().count());
  for (std::uint64_t i = 0; i < fresh && !HasFailure(); ++i) check(first + i, GetParam());
}

TEST_P(LogPath, TheSameSeedGivesTheSameRun) {
  auto first = simulate_logs(42, GetParam(), 3, 3), second = simulate_logs(42, GetParam(), 3, 3);
  EXPECT_FALSE(first.trace.empty());
  EXPECT_EQ(first.trace, second.trace);
  EXPECT_EQ(first.sent, second.sent);
}

INSTANTIATE_TEST_SUITE_P(Scenarios, LogPath, testing::ValuesIn(log_scenarios), [](auto& info) { return std::string(info.param.world.name); });

}  // namespace
}  // namespace mayfly::simulation
