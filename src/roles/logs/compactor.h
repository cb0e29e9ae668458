#pragma once
// When an attempt is over, the many chunks of its log become one object that any line can be read from (log_objects.h). One
// transaction changes the truth from chunks to object; before it the object is nobody's, after it the chunks are, and the
// sweep removes what is nobody's. So it may stop anywhere, and two may do it at once.

#include "ports/blobs.h"
#include "ports/clock.h"
#include "ports/database.h"

namespace mayfly {

inline constexpr Duration compact_after = std::chrono::minutes(2);    // an attempt's end: the last of its log has come
inline constexpr Duration tidy_after = std::chrono::minutes(1);       // the change: who reads chunks has read them
inline constexpr Duration compact_interval = std::chrono::seconds(30);
inline constexpr std::int64_t compact_batch = 256;                    // attempts of one sweep, and a page more
inline constexpr std::size_t inline_object_bytes = 64 << 10;          // up to here an object is in its row

class LogCompactor final {
 public:
  LogCompactor(Database& db, Blobs& blobs, Clock& clock, Entropy& entropy) : db_(db), blobs_(blobs), clock_(clock), entropy_(entropy) {}

  /// Sweeps until canceled.
  Task<void> run();

  /// Compacts logs of attempts that are over, and tidies after those compacted before; how many of both. One that fails is left for
  /// the next sweep.
  Task<Result<std::size_t>> sweep();

  /// False: there was nothing to do, or another did it. Errc::corrupt: the chunks have a hole; the log stays as it is.
  Task<Result<bool>> compact(AttemptId attempt);

  /// Removes what a compacted log's object has taken the place of. False: it is not compacted.
  Task<Result<bool>> tidy(AttemptId attempt);

 private:
  struct Chunks {
    std::int64_t count = 0;
    std::int64_t end = 0;
  };
  struct Packed;
  Task<Result<Chunks>> chunks_of(AttemptId attempt);
  Task<Result<Packed>> pack(AttemptId attempt, std::int64_t size);
  Task<Result<std::vector<AttemptId>>> untidy(Time since);
  Task<Result<std::vector<AttemptId>>> over(Time since);
  void shuffle(std::vector<AttemptId>& list);
  Task<Result<std::size_t>> for_each(std::vector<AttemptId> attempts, bool tidying);

  Database& db_;
  Blobs& blobs_;
  Clock& clock_;
  Entropy& entropy_;
};

}  // namespace mayfly
