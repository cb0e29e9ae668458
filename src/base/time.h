#pragma once
// Wall-clock instants as Mayfly stores and shows them: microseconds since 1970 in UTC. Nothing here reads a clock
// (see ports/clock.h).

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace mayfly {

using Duration = std::chrono::microseconds;
using Time = std::chrono::sys_time<Duration>;

/// The column form of an instant: microseconds since 1970.
inline std::int64_t to_micros(Time t) { return t.time_since_epoch().count(); }
inline Time from_micros(std::int64_t us) { return Time{Duration{us}}; }

/// "2026-01-31T23:59:59.123456Z" (RFC 3339).
std::string to_rfc3339(Time);

/// Reads RFC 3339 with `Z` or a numeric offset; fraction optional. Errc::invalid otherwise.
Result<Time> parse_rfc3339(std::string_view);

/// Reads "90s", "20m", "1h30m", "14d", "500ms" or a bare number of seconds. Errc::invalid otherwise.
Result<Duration> parse_duration(std::string_view);

/// "1h 2m 3s", "45s", "320ms": for people.
std::string format_duration(Duration);

}  // namespace mayfly
