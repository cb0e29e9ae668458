#pragma once
// History that is dropped, never deleted: tables partitioned by range on an id that begins with the time it was made (UUIDv7).
// Partitions are made before their time comes and dropped after their retention has passed. What falls beside them all lands
// in the default partition, so that no insert fails, and is moved to where it belongs.

#include <optional>
#include <string>
#include <string_view>

#include "adapters/postgres/postgres.h"
#include "adapters/postgres/session.h"

namespace mayfly::postgres {

struct TimeRange {
  Time from, until;
  bool operator==(const TimeRange&) const = default;
};

/// Those of `width` stand side by side from 1970 on.
TimeRange range_of(Time at, Duration width);

/// The least id that can be made at that millisecond.
std::string first_id_at(Time at);

/// When the id was made; nothing for a text that is no UUIDv7.
std::optional<Time> time_of_id(std::string_view id);

/// Brings each table's partitions to what should be at `now`. Any number of processes may; one acts at a time.
Result<void> keep_partitions(Session& session, const std::vector<PartitionedTable>& tables, Time now);

/// The same over a connection of its own.
Result<void> keep_partitions(const PostgresOptions& options, Time now);

}  // namespace mayfly::postgres
