#pragma once
// The log file as the sidecar sees it while mayfly-init writes it, and after: frames by offset, checked, for init runs where
// the job runs.

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>

#include "adapters/sandbox/unique_fd.h"
#include "async/task.h"
#include "base/result.h"
#include "base/time.h"
#include "domain/logs/frame.h"

namespace mayfly {

inline constexpr std::size_t max_log_batch_bytes = 1 << 20;   // of frames in one request

struct LogBatch {
  std::string frames;
  std::int64_t begin = 0;      // text offsets
  std::int64_t end = 0;
};

class LogFile final {
 public:
  /// Makes the file, which must not exist: no log file is ever used twice. Errc::conflict if it does.
  static Result<LogFile> create(const std::string& path);

  /// One that an earlier process of the same runner made. Errc::not_found.
  static Result<LogFile> open(const std::string& path);

  /// For mayfly-init: appends.
  int append_fd() const { return append_.get(); }
  /// Where the next batch begins.
  std::int64_t position() const { return at_; }

  /// Whole frames from the position on, at most max_log_batch_bytes of them; empty when there is none yet. Errc::corrupt: what is there
  /// is no log, or not the one it was.
  Result<LogBatch> next();
  /// The position goes back to `offset` (or to the nearest batch begin before it). Errc::invalid if that is forgotten.
  Result<void> rewind(std::int64_t offset);
  /// Nobody will ask again for what is before `offset`.
  void forget(std::int64_t offset);

  /// A line of ours at the end of the log, and what a killed init left half written cut off. Only before init has the job, and when it is gone.
  Result<void> say(std::string_view text, Time now);
  /// The log's length after the last line that was said; where init begins.
  std::int64_t said_end() const { return said_end_; }

 private:
  struct Mark {
    std::int64_t offset;       // of text
    std::int64_t place;        // in the file
  };
  LogFile(UniqueFd append, UniqueFd read) : append_(std::move(append)), read_(std::move(read)) {}

  UniqueFd append_;
  UniqueFd read_;
  std::int64_t at_ = 0;
  std::int64_t place_ = 0;
  std::int64_t said_end_ = 0;
  std::deque<Mark> marks_;     // where batches began
  std::string buffer_;
};

/// Tells when a file is written to. Asio and inotify stay in file_watch.cpp.
class FileWatch final {
 public:
  FileWatch(Loop loop, const std::string& path);
  ~FileWatch();
  FileWatch(const FileWatch&) = delete;
  FileWatch& operator=(const FileWatch&) = delete;
  /// Returns when it was written to since the last return.
  Task<void> changed();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace mayfly
