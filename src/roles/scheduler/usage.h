#pragma once
// Who has had how much, handed from one scheduler to the next: the one thing a scheduler knows that the queue does not tell.

#include <optional>

#include "domain/scheduling/types.h"
#include "ports/clock.h"
#include "ports/database.h"
#include "roles/common/lease.h"

namespace mayfly {

inline constexpr Duration usage_stored_every = std::chrono::seconds(30);
inline constexpr std::size_t max_usage_records = 20'000;   // those who had most; the others begin as newcomers

class UsageStore final {
 public:
  UsageStore(Database& db, Clock& clock) : db_(db), clock_(clock) {}

  /// What the scheduler before us left; nothing of one that never was. Errc::corrupt.
  Task<Result<scheduling::UsageSnapshot>> load();

  /// Stands only while `scheduler` schedules.
  Task<Result<void>> store(scheduling::UsageSnapshot usage, Leadership scheduler);

  /// The last word of a scheduler that is being stopped, and cannot wait any more. flush() stores it.
  void note(scheduling::UsageSnapshot usage, Leadership scheduler) { noted_.emplace(std::move(usage), std::move(scheduler)); }
  Task<void> flush();

 private:
  Database& db_;
  Clock& clock_;
  std::optional<std::pair<scheduling::UsageSnapshot, Leadership>> noted_;
};

}  // namespace mayfly
