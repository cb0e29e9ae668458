#include "domain/access/gcra.h"

#include <gtest/gtest.h>

namespace mayfly {
namespace {

using namespace std::chrono_literals;

/// A key whose time a test moves by hand.
struct Limited {
  Rate rate;
  Time now{std::chrono::sys_days{std::chrono::year{2026} / 1 / 1}};
  Time instant{};

  Admission ask(std::int64_t cost = 1) {
    auto step = gcra(rate, cost, instant, now);
    instant = step.next;
    return step.admission;
  }
};

TEST(Gcra, ABurstIsAdmittedAndNothingBeyondIt) {
  Limited key{{.burst = 3, .each = 10s}};
  EXPECT_EQ(key.ask(), (Admission{true, 0s, 2}));
  EXPECT_EQ(key.ask(), (Admission{true, 0s, 1}));
  EXPECT_EQ(key.ask(), (Admission{true, 0s, 0}));
  EXPECT_EQ(key.ask(), (Admission{false, 10s, 0}));
}

TEST(Gcra, RetryAfterIsHonest) {
  Limited key{{.burst = 2, .each = 10s}};
  key.ask(2);
  key.now += 4s;
  auto refused = key.ask();
  EXPECT_EQ(refused.retry_after, 6s);
  key.now += 6s - 1us;
  EXPECT_FALSE(key.ask().admitted) << "a microsecond early";
  key.now += 1us;
  EXPECT_TRUE(key.ask().admitted);
}

TEST(Gcra, ARefusalCostsNothing) {
  Limited key{{.burst = 1, .each = 10s}};
  key.ask();
  for (int i = 0; i < 100; ++i) EXPECT_FALSE(key.ask().admitted);
  key.now += 10s;
  EXPECT_TRUE(key.ask().admitted);
}

TEST(Gcra, TheSteadyRateIsWhatTheRateSays) {
  Limited key{per_second(50, 5)};
  int admitted = 0;
  for (int ms = 0; ms < 10'000; ++ms, key.now += 1ms) admitted += key.ask().admitted;
  EXPECT_EQ(admitted, 5 + 50 * 10 - 1) << "the burst, and one each 20 ms after the first";
}

TEST(Gcra, CostIsManyAtOnceAndWaitsForAllOfIt) {
  Limited key{{.burst = 10, .each = 1s}};
  EXPECT_EQ(key.ask(7), (Admission{true, 0s, 3}));
  EXPECT_EQ(key.ask(5), (Admission{false, 2s, 3})) << "three are left: two more seconds";
  EXPECT_EQ(key.ask(3), (Admission{true, 0s, 0}));
}

TEST(Gcra, AfterARestTheBurstIsThereAgainAndNoMore) {
  Limited key{{.burst = 3, .each = 1s}};
  key.ask(3);
  key.now += 1h;
  EXPECT_EQ(key.ask().remaining, 2);
}

TEST(Gcra, AnInstantFarAheadLocksNobodyOut) {
  Limited key{{.burst = 3, .each = 1s}};
  key.instant = key.now + 24h;
  EXPECT_EQ(key.ask(), (Admission{false, 1s, 0}));
  key.now += 3s;
  EXPECT_EQ(key.ask(), (Admission{true, 0s, 2}));
}

TEST(Gcra, ARateIsReadAsItIsWritten) {
  EXPECT_EQ(parse_rate("50/s burst 500"), (Rate{500, 20ms}));
  EXPECT_EQ(parse_rate("60/min burst 1"), (Rate{1, 1s}));
  EXPECT_EQ(parse_rate("1/h burst 3"), (Rate{3, 1h}));
  EXPECT_EQ(parse_rate("1000000/s burst 1"), (Rate{1, 1us}));
  for (auto* text : {"", "50", "50/s", "50/s burst", "50/s burst 0", "0/s burst 1", "-1/s burst 1", "50/d burst 1", "50/s burst 1 ", "1000001/s burst 1", "99999999999999999999/s burst 1"})
    EXPECT_EQ(parse_rate(text).error().code, Errc::invalid) << text;
}

TEST(Gcra, RatesAndCostsOutsideTheLimitsAreRefused) {
  auto code = [](Rate rate, std::int64_t cost) {
    auto checked = check_rate(rate, cost);
    return checked ? std::string("fine") : std::string(to_string(checked.error().code));
  };
  EXPECT_EQ(code({1, 1us}, 1), "fine");
  EXPECT_EQ(code({0, 1s}, 1), "invalid");
  EXPECT_EQ(code({1, 0us}, 1), "invalid");
  EXPECT_EQ(code({max_burst, 1us}, 1), "fine");
  EXPECT_EQ(code({max_burst + 1, 1us}, 1), "invalid");
  EXPECT_EQ(code({1, max_burst_time}, 1), "fine");
  EXPECT_EQ(code({1, max_burst_time + 1us}, 1), "invalid");
  EXPECT_EQ(code({2, max_burst_time / 2 + 1us}, 1), "invalid");
  EXPECT_EQ(code({5, 1s}, 5), "fine");
  EXPECT_EQ(code({5, 1s}, 6), "invalid");
  EXPECT_EQ(code({5, 1s}, 0), "invalid");
}

}  // namespace
}  // namespace mayfly
