#pragma once
// The log of every attempt in one process: taken in as frames, kept in memory until a chunk is full (1 MB) or old (5 s), then
// stored (log_chunks.h). Bytes are named by offset, so frames may come twice, and a runner whose server died sends again from
// what is durable. Reads are seamless over chunks and memory.
//
// Another process may store the same log (a LogAggregator that was thought dead): then a chunk of ours is refused, the
// database says how far the log is, and the buffer begins there.

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "async/mutex.h"
#include "async/signal.h"
#include "domain/logs/frame.h"
#include "roles/logs/log_chunks.h"
#include "roles/logs/log_intake.h"

namespace mayfly {

inline constexpr Duration log_chunk_age = std::chrono::seconds(5);
inline constexpr int max_log_settlements = 8;   // of one flush: how often others may be faster

class LogStore final : public LogIntake, public LogReader {
 public:
  LogStore(Database& db, Blobs& blobs, Clock& clock) : chunks_(db, blobs, clock), clock_(clock) {}

  Task<Result<LogsAnswer>> append(AttemptId attempt, std::string frames) override;
  Task<Result<LogsAnswer>> position(AttemptId attempt) override;
  Task<Result<LogEnd>> complete(AttemptId attempt, std::int64_t log_bytes) override;
  Task<Result<void>> flush(AttemptId attempt) override;
  void ended(AttemptId attempt) override;

  Task<Result<std::int64_t>> size(AttemptId attempt, bool ended) override;
  Task<Result<std::string>> read(AttemptId attempt, std::int64_t from, std::size_t max) override;
  Task<Result<std::optional<LineRange>>> find_lines(AttemptId attempt, std::int64_t first, std::int64_t count) override {
    return chunks_.find_lines(attempt, first, count);
  }
  Task<bool> wait_beyond(AttemptId attempt, std::int64_t offset, Time until) override;

  /// Flushes what grows old, until canceled.
  Task<void> run();

  struct Taken {
    std::int64_t next = 0;
    std::int64_t durable = 0;
    std::size_t buffered = 0;             // bytes not durable yet
    bool grew = false;
    std::optional<std::int64_t> beyond;   // a frame began here, behind a gap, and was not taken
    std::optional<std::int64_t> mark;     // an empty frame stood here: whoever sent it wants what is before it durable
  };
  /// append() for those who flush by themselves. Before it speaks of a gap it has asked the database. `frames` stay alive
  /// until it is done.
  Task<Result<Taken>> take(AttemptId attempt, std::string_view frames);

  /// Those with bytes older than `age`.
  std::vector<AttemptId> older_than(Duration age) const;
  struct Part {
    std::int64_t offset = 0;
    std::string text;
  };
  /// Of what is in memory only, up to `max` bytes from `from`.
  Part in_memory(AttemptId attempt, std::int64_t from, std::size_t max) const;
  /// Nothing: it is not in memory, so all that was taken is durable.
  std::optional<std::int64_t> durable(AttemptId attempt) const;
  std::size_t buffered_bytes() const { return buffered_; }
  void forget_idle();

 private:
  struct Open {
    std::int64_t durable = 0;
    std::string buffer;               // the bytes from `durable` on
    std::optional<Time> oldest;       // when the first of them came
    Time touched{};
    bool doubtful = false;            // a chunk may have been stored without our hearing of it, or by another
    Signal moved;
    Mutex mutex;                      // of writers to the chunks
    std::int64_t next() const { return durable + std::int64_t(buffer.size()); }
  };

  Task<Result<std::shared_ptr<Open>>> open(AttemptId attempt);
  Result<void> take_frame(Open& log, const LogFrame& frame, Taken& taken);
  void drop_front(Open& log, std::size_t bytes);
  Task<Result<void>> settle(AttemptId attempt, Open& log);
  Task<Result<void>> flush_locked(AttemptId attempt, Open& log);

  LogChunks chunks_;
  Clock& clock_;
  std::map<AttemptId, std::shared_ptr<Open>> open_;
  std::size_t buffered_ = 0;
};

}  // namespace mayfly
