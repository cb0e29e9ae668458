#include "cli/log_follower.h"

#include <gtest/gtest.h>

#include "cli/persist.h"
#include "support/run.h"
#include "support/virtual_clock.h"

namespace mayfly::cli {
namespace {

std::string prefixed(const std::vector<std::string>& pieces) {
  std::string out;
  LinePrefixer prefixer("a | ", [&](std::string_view line) { out += line; });
  for (auto& piece : pieces) prefixer.feed(piece);
  prefixer.end();
  return out;
}

TEST(LinePrefixer, NamesEachLineHoweverTheTextIsCut) {
  const std::string text = "one\n\nthree\nlast";
  for (std::size_t cut = 0; cut <= text.size(); ++cut)
    EXPECT_EQ(prefixed({text.substr(0, cut), text.substr(cut)}), "a | one\na | \na | three\na | last\n") << cut;
}

TEST(LinePrefixer, CutsLinesThatAreTooLongToKeep) {
  auto longest = std::string(max_prefixed_line_bytes - 1, 'x') + "\n";
  EXPECT_EQ(prefixed({longest}), "a | " + longest);
  EXPECT_EQ(prefixed({"x" + longest}), "a | " + std::string(max_prefixed_line_bytes, 'x') + "\na | \n");
}

TEST(Persistence, TriesAgainWithGrowingPausesUntilPatienceIsOver) {
  VirtualClock clock;
  auto began = clock.now();
  int tries = 0;
  auto last = run(clock, [](Clock& time, int& n) -> Task<Result<void>> {
    Persistence persistence(time);
    while (true) {
      ++n;
      CO_TRY(co_await persistence.after(Error{Errc::unavailable, "away", {}}));
    }
  }(clock, tries));
  EXPECT_EQ(last.error().message, "away");
  EXPECT_GT(clock.now() - began, patience);
  EXPECT_LT(clock.now() - began, patience + std::chrono::seconds(6));
  EXPECT_GT(tries, 10);
  EXPECT_LT(tries, 30) << "a server that is away is not hammered";
}

TEST(Persistence, BeginsAnewWhenSomethingArrived) {
  VirtualClock clock;
  auto result = run(clock, [](Clock& time) -> Task<Result<void>> {
    Persistence persistence(time);
    for (int i = 0; i < 100; ++i) {
      persistence.progress();
      CO_TRY(co_await persistence.after(Error{Errc::timeout, "slow", {}}));
    }
    co_return Result<void>();
  }(clock));
  EXPECT_TRUE(result);
}

TEST(Persistence, DoesNotRepeatWhatCannotPass) {
  VirtualClock clock;
  auto began = clock.now();
  auto result = run(clock, [](Clock& time) -> Task<Result<void>> {
    Persistence persistence(time);
    co_return co_await persistence.after(Error{Errc::forbidden, "no", {}});
  }(clock));
  EXPECT_EQ(result.error().message, "no");
  EXPECT_EQ(clock.now(), began);
}

}  // namespace
}  // namespace mayfly::cli
