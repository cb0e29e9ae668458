#pragma once
// Keeps one pool as the database says it should be: every assigned attempt has a runner, every runner has a current
// attempt, what is lost or late is said so. Works from level: events only make it look sooner.

#include <map>
#include <set>
#include <string>

#include "async/scope.h"
#include "ports/bus.h"
#include "ports/executor.h"
#include "roles/builds/builds.h"
#include "roles/runners/attempts.h"

namespace mayfly {

inline constexpr Duration timeout_margin = std::chrono::seconds(30);   // the runner's own limit comes first

struct PoolOptions {
  std::string name = "local";
  std::string api_url;                               // where runners find the server
  Duration sweep = std::chrono::seconds(1);
};

class PoolKeeper final {
 public:
  PoolKeeper(Database& db, Builds& builds, Attempts& attempts, Executor& executor, Bus& bus, Clock& clock,
             const RunnerIdentity& identity, Loop loop, PoolOptions options);

  /// Until canceled. Runners go on without us; the next keeper takes them over.
  Task<void> run();

 private:
  Task<void> follow_assignments();
  Task<void> sweep_forever();
  Task<Result<void>> sweep();
  Task<void> start(BuildId build, AttemptId attempt);
  Task<Result<void>> try_start(BuildId build, AttemptId attempt);
  Task<void> stop(AttemptId attempt);
  Task<void> ended(RunnerStatus status);
  Task<void> lose(AttemptKey key, Reason reason, std::string detail);
  Task<void> check(LiveJob live);

  Database& db_;
  Builds& builds_;
  Attempts& attempts_;
  Executor& executor_;
  Bus& bus_;
  Clock& clock_;
  const RunnerIdentity& identity_;
  PoolOptions options_;
  Scope work_;
  Time since_{};                        // when this keeper began: a runner may need until then to be heard again
  std::set<AttemptId> starting_;
  std::set<AttemptId> started_;
};

}  // namespace mayfly
