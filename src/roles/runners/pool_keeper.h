#pragma once
// Keeps one pool as the database says it should be: every assigned attempt has a runner, every runner has a current
// attempt, what is lost or late is said so. Works from level: events only make it look sooner.

#include <map>
#include <set>
#include <string>

#include "async/scope.h"
#include "domain/scheduling/types.h"
#include "ports/bus.h"
#include "ports/executor.h"
#include "roles/builds/builds.h"
#include "roles/common/lease.h"
#include "roles/runners/heartbeats.h"
#include "roles/runners/identity.h"

namespace mayfly {

struct PoolOptions {
  scheduling::PoolState pool;
  std::string executor = "sandbox";                  // what kind, for people
  std::string api_url;                               // where runners find the server; several with commas between
  Duration sweep = std::chrono::seconds(1);
  Duration start_deadline = mayfly::start_deadline;  // assigned → first word of the runner
};

class PoolKeeper final {
 public:
  PoolKeeper(Database& db, Builds& builds, Executor& executor, Bus& bus, Cache& cache, Clock& clock, const RunnerIdentity& identity,
             Loop loop, PoolOptions options, Leadership leadership);
  ~PoolKeeper() { executor_.on_end({}); }

  /// Until canceled: for as long as `leadership` lasts. Runners go on without us; the next keeper takes them over.
  Task<void> run();

 private:
  Task<void> say_what_we_are();
  Task<void> follow_assignments();
  Task<void> sweep_forever();
  Task<Result<void>> sweep();
  Task<void> start(BuildId build, AttemptId attempt);
  Task<Result<void>> try_start(BuildId build, AttemptId attempt);
  Task<void> stop(AttemptId attempt, Duration grace);
  Task<void> keep_issuer();
  Task<Result<bool>> learn_issuer();
  Task<Result<RunnerSpec>> spec_of(const JobState& job, Isolation isolation);
  void remember(const RunnerStatus& status);
  Task<void> ended(RunnerStatus status);
  Task<void> lose(AttemptKey key, Reason reason, std::string detail);
  Task<void> check(LiveJob live);

  Database& db_;
  Builds& builds_;
  Executor& executor_;
  Bus& bus_;
  Clock& clock_;
  const RunnerIdentity& identity_;
  PoolOptions options_;
  Leadership leadership_;
  Scope work_;
  Time since_{};                        // when this keeper began: a runner may need until then to start
  Heartbeats heartbeats_;
  std::set<AttemptId> starting_;
  std::set<AttemptId> started_;
  std::set<std::pair<AttemptId, Duration>> stopping_;   // under way: a machine that is lost does not answer soon
  std::map<AttemptId, RunnerStatus> troubles_;   // what would be the reason if it went on like this
};

}  // namespace mayfly
