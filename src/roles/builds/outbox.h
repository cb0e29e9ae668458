#pragma once
// From the database onto the bus. A message is stored with the change it tells of, published by the process that stored
// it right after, and deleted by its id. What a process leaves behind when it dies, or cannot publish while the bus is
// away, is found by the sweep of any other: the table is looked at by age, never by a sequence.

#include <string>
#include <vector>

#include "async/signal.h"
#include "ports/bus.h"
#include "ports/cache.h"
#include "ports/clock.h"
#include "ports/database.h"
#include "roles/builds/records.h"

namespace mayfly {

inline constexpr std::size_t max_pending_messages = 10'000;             // past it they are left to the sweep
inline constexpr Duration orphan_age = std::chrono::seconds(10);        // a message this old has lost its process
inline constexpr Duration outbox_is_late_after = std::chrono::seconds(15);

class Outbox final {
 public:
  Outbox(Database& db, Bus& bus, Cache& cache, Clock& clock) : db_(db), bus_(bus), cache_(cache), clock_(clock) {}

  /// These rows have been stored by this process.
  void stored(std::vector<OutboxRow> rows);

  /// Publishes, until canceled.
  Task<void> run();

  /// Errc::unavailable when messages have waited for longer than outbox_is_late_after.
  Task<Result<void>> check();

 private:
  Task<Result<void>> send(std::vector<OutboxRow> rows);
  Task<Result<void>> publish(const std::string& topic, std::vector<Message> messages);
  Task<Result<void>> sweep(Time made_before);

  Database& db_;
  Bus& bus_;
  Cache& cache_;
  Clock& clock_;
  std::vector<OutboxRow> pending_;
  bool behind_ = true;      // rows may stand there that nobody will tell us of
  Time swept_at_{};
  Signal changed_;
};

/// The cache channel that says "build `id` moved": look at its history.
std::string build_channel(BuildId id);

/// The cache channel on which the ids of attempts that are to stop are said, separated by spaces.
inline constexpr std::string_view stops_channel = "stops";

}  // namespace mayfly
