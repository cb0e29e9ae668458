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
#include "roles/scheduler/pool_watch.h"
#include "roles/scheduler/usage.h"
#include "roles/scheduler/wait_reasons.h"

namespace mayfly {

class Scheduler final {
 public:
  /// `alone`: one process is all there is, and its pools' leases do not beat. All outlive it.
  Scheduler(Database& db, Builds& builds, Bus& bus, Cache& cache, Clock& clock, Entropy& entropy, Metrics& metrics, UsageStore& usage, Loop loop,
            Leadership leadership, bool alone);
  ~Scheduler();

  /// Until canceled: for as long as `leadership` lasts.
  Task<void> run();

  /// "2nd of 9 in acme; a runner with 2 cpu". Empty for a job that does not wait here.
  std::string why(JobId job);
  PoolsNumbers pool_numbers() const;

 private:
  Task<void> follow(std::string_view topic);
  Task<void> recall_usage();
  Task<void> store_usage_forever();
  Task<void> watch_pools();
  Task<Result<void>> learn_pools();
  Task<void> tend_pools();
  void report();
  Task<void> report_forever();
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
  UsageStore& usage_;
  Leadership leadership_;
  PoolWatch watch_;
  Scope work_;
  Signal changed_;
  scheduling::FairShare fair_;
  bool recalled_ = false;       // fair_ knows who has had how much
  bool used_ = false;           // … and somebody has had something since it was stored
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
