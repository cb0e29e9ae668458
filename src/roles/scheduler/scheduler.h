#pragma once
// Decides who runs next. Keeps the queue in memory as a copy of the database's live jobs: events bring changes at once, the
// sweep makes it right. A decision counts only when Builds has stored it, so a scheduler that is wrong, late or doubled
// costs time and never runs a job twice.

#include <map>
#include <set>
#include <string>
#include <string_view>

#include "async/scope.h"
#include "async/signal.h"
#include "domain/scheduling/fair_share.h"
#include "ports/bus.h"
#include "ports/cache.h"
#include "roles/builds/builds.h"
#include "roles/common/lease.h"
#include "roles/common/metrics.h"

namespace mayfly {

class Scheduler final {
 public:
  Scheduler(Database& db, Builds& builds, Bus& bus, Cache& cache, Clock& clock, Entropy& entropy, Metrics& metrics, Loop loop, Leadership leadership)
      : db_(db), builds_(builds), bus_(bus), cache_(cache), clock_(clock), entropy_(entropy), metrics_(metrics), leadership_(std::move(leadership)),
        work_(std::move(loop)) {}

  /// Until canceled: for as long as `leadership` lasts.
  Task<void> run();

  /// "2nd of 9 in acme; a runner with 2 cpu". Empty for a job that does not wait here.
  std::string why(JobId job);

 private:
  Task<void> follow(std::string_view topic);
  Task<void> watch_pools();
  Task<Result<void>> learn_pools();
  Task<void> sweep_forever();
  Task<void> decide_forever();
  Task<Result<void>> sweep();
  Task<void> refresh(BuildId build);
  Task<void> assign(scheduling::Decision decision, BuildId build);
  void learn(const BuildRecord& record, const JobState& job);
  void drop(JobId job);
  Task<void> learn_weights(ProjectId project);

  Database& db_;
  Builds& builds_;
  Bus& bus_;
  Cache& cache_;
  Clock& clock_;
  Entropy& entropy_;
  Metrics& metrics_;
  Leadership leadership_;
  Scope work_;
  Signal changed_;
  scheduling::FairShare fair_;
  struct Known {
    BuildId build;
    bool running = false;       // holds a runner's resources in fair_
  };
  std::map<JobId, Known> known_;
  std::map<std::string, scheduling::PoolState> pools_;
  std::set<JobId> deciding_;    // an assignment of theirs is being stored
  std::map<ProjectId, Time> weights_;   // when they were read
};

}  // namespace mayfly
