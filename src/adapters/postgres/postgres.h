#pragma once
// The Database port on PostgreSQL 15 and later: what several machines share. libpq's pipeline mode on the loop; units that
// wait together share one transaction and one fsync.

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "async/offload.h"
#include "ports/clock.h"
#include "ports/database.h"

namespace mayfly {

/// A table whose migration has it partitioned by range on the id that leads its key.
struct PartitionedTable {
  std::string table;
  std::string column;  // UUIDv7
  Duration width;      // of one partition
  Duration retention;  // then it is dropped, at most a width later; zero: never
};

struct PostgresOptions {
  /// libpq's own form with all of its parameters: postgresql://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=verify-full. Of several
  /// hosts the primary is used.
  std::string url;
  unsigned readers = 4;  // connections, each a process of the server's
  unsigned writers = 4;
  std::size_t max_queued_units = 8192;  // that wait; past any of these limits: Errc::unavailable
  std::size_t max_queued_bytes = 256 << 20;
  std::size_t max_queued_reads = 8192;
  std::chrono::milliseconds connect_timeout{5'000};
  std::chrono::milliseconds patience{3'000};  // a call waits so long for a lost connection to come back
  std::chrono::milliseconds statement_timeout{20'000};
  std::chrono::milliseconds lock_timeout{5'000};
  std::chrono::milliseconds idle_in_transaction_timeout{10'000};
  std::vector<PartitionedTable> partitions{};
};

/// Connects and applies the migrations; the only time that it blocks. Destroy it after its last call has returned, and before
/// the loop. Connections that are lost are made again for ever. Errc::unavailable: no server lets us in; Errc::invalid: the
/// URL is none; else see postgres/migrate.h.
Result<std::unique_ptr<Database>> open_postgres(Loop loop, Clock& clock, PostgresOptions options, std::vector<Migration> migrations);

/// Makes partitions before their time comes and drops those past their retention, until canceled; any number of processes
/// may. open_postgres() does so once. `elsewhere` outlives it.
Task<void> keep_partitions(PostgresOptions options, Clock& clock, Offload& elsewhere);

}  // namespace mayfly
