#pragma once
// How many requests may come how fast. The generic cell rate algorithm (ITU-T I.371): one instant a key says all there is to
// know, so a limit costs one small value wherever it is kept, and needs nobody who refills a bucket.

#include <cstdint>
#include <string_view>

#include "base/result.h"
#include "base/time.h"

namespace mayfly {

/// `burst` units at once, then one more each `each`.
struct Rate {
  std::int64_t burst = 1;
  Duration each{std::chrono::seconds{1}};

  bool operator==(const Rate&) const = default;
};

/// `units` a second, as near as microseconds allow; at least 1, at most 1,000,000.
constexpr Rate per_second(std::int64_t units, std::int64_t burst) { return {burst, Duration{1'000'000 / units}}; }

/// Reads "50/s burst 500", "600/min burst 60", "100/h burst 10" (s, min, h). Errc::invalid says what a rate looks like.
Result<Rate> parse_rate(std::string_view text);

struct Admission {
  bool admitted = false;
  Duration retry_after{};      // 0 when admitted; else the same cost is admitted then, if nobody else comes first
  std::int64_t remaining = 0;  // units that would be admitted now

  bool operator==(const Admission&) const = default;
};

inline constexpr std::int64_t max_burst = 1'000'000'000;
inline constexpr Duration max_burst_time = std::chrono::hours{24 * 366};  // burst × each

/// Errc::invalid for a rate outside the limits above, and for a cost below 1 or above the burst, which could never be admitted.
Result<void> check_rate(Rate rate, std::int64_t cost);

struct GcraStep {
  Admission admission;
  Time next;  // the key's instant from now on; at or before now is the same as none
};

/// One request at `now`, of a rate and cost that check_rate() lets pass. `instant` is what the last step left, or any instant in
/// the past when there is none. An instant further ahead than this rate can make (the clock was set back, the limit was changed)
/// counts as a burst used up just now, so nobody is locked out by it.
GcraStep gcra(Rate rate, std::int64_t cost, Time instant, Time now);

}  // namespace mayfly
