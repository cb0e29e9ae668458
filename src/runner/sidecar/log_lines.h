#pragma once
// The log as a file of lines for a shipper that is not ours (domain/logs/shipped.h), beside the frames that init writes: named
// <attempt>.jsonl in the pool's `log_files`, never used twice, removed when the executor forgets the attempt.

#include <string>

#include "adapters/sandbox/unique_fd.h"
#include "runner/sidecar/log_file.h"

namespace mayfly {

class LogLines final {
 public:
  /// Errc::unavailable; Errc::conflict when the file exists.
  static Result<LogLines> create(const std::string& path);

  /// Appends what of the batch is new. Errc::unavailable: no more can be written, perhaps half a line was.
  Result<void> write(const LogBatch& batch);

 private:
  explicit LogLines(UniqueFd file) : file_(std::move(file)) {}

  UniqueFd file_;
  std::int64_t end_ = 0;       // of what is in it
};

}  // namespace mayfly
