#pragma once
// Logs by HTTP from shippers that are not ours (domain/logs/shipped.h). A shipper sends a batch again until it is answered with
// success, and then forgets it; so success means taken in for good. And one log that cannot be taken, now or ever, must not keep
// it from going on with the others: what is refused is counted and named, and the batch is done.

#include <cstddef>
#include <functional>
#include <string>

#include "domain/logs/shipped.h"
#include "ports/clock.h"
#include "roles/logs/log_intake.h"

namespace mayfly {

/// Batches of one log may overtake each other: how long those of a request that are early wait for the bytes before them.
inline constexpr Duration shipped_gap_patience = std::chrono::seconds(5);

struct ShippedAnswer {
  std::size_t logs = 0;       // that were taken, known bytes included
  std::size_t bytes = 0;      // of their text
  std::size_t refused = 0;    // records that were none, and logs whose bytes are not taken and would not be if they came again
  std::string why = {};       // of the first
};

std::string to_json(const ShippedAnswer&);

/// Takes whole frames of an attempt as LogIntake::append() does, and makes them durable, for a caller that has proved itself.
using KeepFrames = std::function<Task<Result<LogsAnswer>>(AttemptId attempt, std::string frames)>;

/// Errc::unavailable and its like: not all is taken, send it again. Errc::unauthenticated: the caller speaks for another attempt.
/// `reader` and `clock` outlive the task.
Task<Result<ShippedAnswer>> take_shipped(Shipped shipped, KeepFrames keep, LogReader& reader, Clock& clock);

}  // namespace mayfly
