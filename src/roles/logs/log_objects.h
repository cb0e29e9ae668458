#pragma once
// The log of an attempt that has ended, as one seekable object (domain/logs/seekable.h): in its row while it is small, else a
// blob. What says so is the row; it and the chunks it was made of are never both the truth.

#include <optional>
#include <string>

#include "domain/logs/seekable.h"
#include "ports/blobs.h"
#include "ports/database.h"

namespace mayfly {

struct LogObject {
  LogIndex index;
  std::optional<std::string> data;   // the whole object, or
  std::string blob_key;              // where it is
};

/// Where an attempt's objects lie; a log's chunks lie there too.
std::string log_folder(AttemptId attempt);

/// Nothing while the log is chunks. Errc::corrupt.
Task<Result<std::optional<LogObject>>> find_log_object(Database& db, AttemptId attempt);

/// Bytes of the log, cut to it. One ranged read of the blob store at most. Errc::corrupt.
Task<Result<std::string>> read_log_object(Blobs& blobs, LogObject object, ByteRange range);

}  // namespace mayfly
