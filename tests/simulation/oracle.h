#pragma once
// The invariants of DESIGN.md §2, asked of the database again and again while everything goes wrong, and once more at the end:
// nothing lost, nothing doubled, no status that goes back, logs byte for byte, never more at once than there is room.

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "domain/build/state.h"
#include "ports/clock.h"
#include "ports/database.h"
#include "roles/logs/log_intake.h"
#include "simulation/runners.h"

namespace mayfly::simulation {

class Oracle {
 public:
  Oracle(Database& truth, Clock& clock) : truth_(truth), clock_(clock) {}

  void acknowledged(DeliveryId delivery, int meaning) { acknowledged_[delivery] = meaning; }
  Task<void> look();
  Task<bool> all_ended(int deliveries);
  Task<void> judge(const Deeds& deeds, std::int64_t slots, LogReader& logs, int deliveries);

  std::optional<BuildId> some_build(std::uint64_t n) const;
  std::size_t builds() const { return sequences_.size(); }
  const std::vector<std::string>& violations() const { return violations_; }
  const std::string& trace() const { return trace_; }

 private:
  void violated(std::string what) { violations_.push_back(to_rfc3339(clock_.now()) + " " + what); }

  Database& truth_;
  Clock& clock_;
  std::map<DeliveryId, int> acknowledged_;
  std::map<BuildId, std::int64_t> sequences_;
  std::map<BuildId, std::string> build_status_;
  std::map<JobId, std::pair<std::int64_t, std::string>> jobs_;   // fence and status
  std::vector<std::string> violations_;
  std::string trace_;
};

}  // namespace mayfly::simulation
