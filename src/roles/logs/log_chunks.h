#pragma once
// The stored part of every log: chunks of at most 1 MB, named by the offset of their first byte, small ones as database rows
// and large ones as blobs with a row. The rows' primary key (attempt, first offset) is a compare-and-set: a chunk goes where
// the one before it ends, so of two writers that both believe to be at the end one is told Errc::conflict, and the chain
// stays gapless and without overlap whoever else writes.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "domain/logs/seekable.h"
#include "ports/blobs.h"
#include "ports/clock.h"
#include "ports/database.h"

namespace mayfly {

inline constexpr std::size_t log_chunk_bytes = 1 << 20;
inline constexpr std::size_t inline_chunk_bytes = 64 << 10;    // up to here a chunk is a database row
inline constexpr std::size_t max_chunks_at_once = 8;           // that one store() puts side by side

/// Where the stored part of a log ends; 0 when there is none.
Task<Result<std::int64_t>> stored_log_end(Database& db, AttemptId attempt);

class LogChunks final {
 public:
  LogChunks(Database& db, Blobs& blobs, Clock& clock) : db_(db), blobs_(blobs), clock_(clock) {}

  Task<Result<std::int64_t>> end(AttemptId attempt) { return stored_log_end(db_, attempt); }

  /// Stores what begins at `first`, an end this caller has seen; at most max_chunks_at_once × log_chunk_bytes. Durable when it
  /// returns. Errc::conflict: something is stored there already. Errc::timeout: it may be stored, ask end().
  Task<Result<void>> store(AttemptId attempt, std::int64_t first, std::string bytes);

  /// The row of a small chunk (inline_chunk_bytes), for a unit of the caller's.
  Statement row(AttemptId attempt, std::int64_t first, std::string bytes) const;

  /// Up to `max` bytes from `from`; empty at the end. Errc::corrupt: a hole. Also of logs that are objects by now (log_objects.h).
  Task<Result<std::string>> read(AttemptId attempt, std::int64_t from, std::size_t max);

  /// As LogReader's: only objects have an index.
  Task<Result<std::optional<LineRange>>> find_lines(AttemptId attempt, std::int64_t first, std::int64_t count);

 private:
  Task<Result<std::string>> read_chunks(AttemptId attempt, std::int64_t from, std::size_t max);
  Task<void> put(std::string key, std::string_view bytes, Result<void>& outcome);

  Database& db_;
  Blobs& blobs_;
  Clock& clock_;
};

}  // namespace mayfly
