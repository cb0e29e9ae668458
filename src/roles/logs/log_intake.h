#pragma once
// The log path as the rest of the server sees it: where a runner's log goes in, and where people read it. In one process
// LogStore is both; across nodes BusIntake takes in, LogAggregator stores, LiveLogs reads.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "domain/logs/seekable.h"
#include "domain/runner/protocol.h"
#include "ports/database.h"

namespace mayfly {

/// A log that is all here.
struct LogEnd {
  std::int64_t bytes = 0;             // its length
  std::vector<Statement> statements;  // what of it is not durable yet: to be stored in one unit with the attempt's end
};

class LogIntake {
 public:
  virtual ~LogIntake() = default;
  /// Takes whole frames. Known bytes are passed over; at a gap it stops and `next` says what is wanted. Errc::corrupt: bytes
  /// that are no frames. Errc::too_large: past max_log_bytes. Errc::unavailable: nothing is taken, send it again.
  virtual Task<Result<LogsAnswer>> append(AttemptId attempt, std::string frames) = 0;
  /// What append() would answer now.
  virtual Task<Result<LogsAnswer>> position(AttemptId attempt) = 0;
  /// The runner says that the log has `log_bytes`. Errc::invalid names how far it has come when that is less: the rest is to
  /// be sent again. Errc::unavailable: it is on its way still, ask again. Repeatable.
  virtual Task<Result<LogEnd>> complete(AttemptId attempt, std::int64_t log_bytes) = 0;
  /// Makes everything taken in durable, where no unit will carry the statements of complete().
  virtual Task<Result<void>> flush(AttemptId attempt) = 0;
  /// The attempt's end is stored: whoever follows its log looks again.
  virtual void ended(AttemptId attempt) = 0;
};

class LogReader {
 public:
  virtual ~LogReader() = default;
  /// How far the log can be read now. `ended`: the attempt's end is stored, so the answer is the log's length.
  virtual Task<Result<std::int64_t>> size(AttemptId attempt, bool ended) = 0;
  /// Up to `max` bytes from `from`; empty when there are none (yet).
  virtual Task<Result<std::string>> read(AttemptId attempt, std::int64_t from, std::size_t max) = 0;
  /// Where these lines are, both counted from 0; nothing for a log that has no index of lines (yet).
  virtual Task<Result<std::optional<LineRange>>> find_lines(AttemptId attempt, std::int64_t first, std::int64_t count) = 0;
  /// True when there may be bytes beyond `offset`, or the log has ended; false when `until` passed first.
  virtual Task<bool> wait_beyond(AttemptId attempt, std::int64_t offset, Time until) = 0;
};

}  // namespace mayfly
