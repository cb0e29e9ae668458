#pragma once
// The Database port on a SQLite file: what one machine needs of a database, without a server. One thread writes and
// commits everything that waits with one fsync; two read beside it.

#include <memory>
#include <string>
#include <vector>

#include "ports/database.h"

namespace mayfly {

struct SqliteOptions {
  bool inline_mode = false;  // no threads: every call runs in the caller (the simulator); the only way to have ":memory:"
  bool fsync = true;         // false: an acknowledged transaction survives the process, not the machine
  std::size_t max_queued_units = 8192;  // past either limit: Errc::unavailable
  std::size_t max_queued_bytes = 256 << 20;
  std::size_t max_queued_reads = 8192;
  std::chrono::milliseconds busy_timeout{5000};  // waits for another process's lock; then Errc::unavailable
};

/// Opens or creates the file (mode 0600) and applies the migrations. Destroy it after its last call has returned.
/// Errc::unavailable: it cannot be opened; Errc::corrupt: it is no database; else see sqlite/migrate.h.
Result<std::unique_ptr<Database>> open_sqlite(std::string path, std::vector<Migration> migrations,
                                              SqliteOptions options = {});

}  // namespace mayfly
