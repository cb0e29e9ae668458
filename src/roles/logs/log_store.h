#pragma once
// The log of every attempt: taken in as frames, kept in memory until a chunk is full (1 MB) or old (5 s), then durable
// under its first offset, small ones in the database and large ones as blobs. Bytes are named by offset, so frames may
// come twice, and a runner whose server died sends again from what is durable. Reads are seamless over chunks and memory.

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "async/mutex.h"
#include "async/signal.h"
#include "domain/logs/frame.h"
#include "domain/runner/protocol.h"
#include "ports/blobs.h"
#include "ports/clock.h"
#include "ports/database.h"

namespace mayfly {

inline constexpr std::size_t log_chunk_bytes = 1 << 20;
inline constexpr Duration log_chunk_age = std::chrono::seconds(5);
inline constexpr std::size_t inline_chunk_bytes = 64 << 10;    // up to here a chunk is a database row

class LogStore final {
 public:
  LogStore(Database& db, Blobs& blobs, Clock& clock) : db_(db), blobs_(blobs), clock_(clock) {}

  /// Takes whole frames. Known bytes are passed over; at a gap it stops and `next` says what is wanted.
  /// Errc::corrupt: bytes that are no frames.
  Task<Result<LogsAnswer>> append(AttemptId attempt, std::string frames);

  /// What append() would answer now.
  Task<Result<LogsAnswer>> position(AttemptId attempt);

  /// Makes everything taken in durable.
  Task<Result<void>> flush(AttemptId attempt);

  /// The rest of a log as one statement, to be stored in the same unit as the attempt's end; nothing if there is no rest.
  /// Call ended() when that unit has been stored.
  Task<Result<std::vector<Statement>>> last_chunk(AttemptId attempt);
  void ended(AttemptId attempt);

  /// Up to `max` bytes from `from`; empty when there are none (yet).
  Task<Result<std::string>> read(AttemptId attempt, std::int64_t from, std::size_t max);

  /// True when there are bytes beyond `offset` or the log has ended; false when `until` passed first.
  Task<bool> wait_beyond(AttemptId attempt, std::int64_t offset, Time until);

  /// Flushes what grows old, until canceled.
  Task<void> run();

 private:
  struct Open {
    std::int64_t durable = 0;
    std::string buffer;               // the bytes from `durable` on
    std::optional<Time> oldest;       // when the first of them came
    Time touched{};
    bool doubtful = false;            // a chunk may have been stored without our hearing of it
    Signal moved;
    Mutex mutex;                      // of writers to the chunks
    std::int64_t next() const { return durable + std::int64_t(buffer.size()); }
  };

  Task<Result<std::shared_ptr<Open>>> open(AttemptId attempt);
  Task<Result<void>> settle(AttemptId attempt, Open& log);
  Task<Result<void>> flush_locked(AttemptId attempt, Open& log);
  Task<Result<std::string>> read_durable(AttemptId attempt, std::int64_t from, std::size_t max);
  void forget_idle();

  Database& db_;
  Blobs& blobs_;
  Clock& clock_;
  std::map<AttemptId, std::shared_ptr<Open>> open_;
};

}  // namespace mayfly
