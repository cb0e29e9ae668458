#pragma once
// Some lines of a log by their number: of one that is an object by a single ranged read, of one that still grows by reading
// it from its beginning.

#include "roles/logs/log_intake.h"

namespace mayfly {

inline constexpr std::int64_t max_lines_at_once = 10'000;
inline constexpr std::size_t max_lines_bytes = 8 << 20;   // of all of them; what is longer is cut

/// `count` lines from line `first` (from 0), as far as there are any, each with its line end. Errc::invalid past
/// max_lines_at_once.
Task<Result<std::string>> read_lines(LogReader& log, AttemptId attempt, std::int64_t first, std::int64_t count);

}  // namespace mayfly
