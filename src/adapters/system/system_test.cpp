#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "adapters/system/system_clock.h"
#include "adapters/system/system_entropy.h"
#include "support/run.h"

namespace mayfly {
namespace {

TEST(SystemClock, TellsTheMachinesTime) {
  TestLoop loop;
  SystemClock clock(loop.loop());
  auto before = std::chrono::system_clock::now();
  auto now = clock.now();
  EXPECT_GE(now, std::chrono::floor<Duration>(before));
  EXPECT_LE(now, std::chrono::system_clock::now());
}

TEST(SystemEntropy, FillsEveryByteAndNeverTheSameTwice) {
  SystemEntropy entropy;
  std::set<std::array<std::uint8_t, 32>> seen;
  for (int i = 0; i < 100; ++i) {
    std::array<std::uint8_t, 32> bytes{};
    entropy.fill(bytes);
    seen.insert(bytes);
  }
  EXPECT_EQ(seen.size(), 100u);
  std::vector<std::uint8_t> many(1'000'000);
  entropy.fill(many);
  auto zeros = std::ranges::count(many, 0);
  EXPECT_GT(zeros, 3000);
  EXPECT_LT(zeros, 5000);
  entropy.fill({});
}

}  // namespace
}  // namespace mayfly
