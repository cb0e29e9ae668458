#pragma once
// Runners that live on virtual time: they speak the runner protocol to whichever server is up, outlive the ones that die,
// and die themselves. What a job's script says is what happens: "ok", "fail", "flaky" (fails once), "slow".

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "async/scope.h"
#include "ports/executor.h"
#include "roles/runners/attempts.h"
#include "simulation/faults.h"

namespace mayfly::simulation {

/// What really happened, as the runners saw it: what the oracle believes.
struct Deeds {
  std::map<AttemptId, int> begun;                 // runners that were let in, by attempt: more than one is a double effect
  std::map<AttemptId, std::string> logs;          // what each wrote
  std::map<JobId, std::set<AttemptId>> of_job;
  int at_once = 0, most_at_once = 0;              // inside their steps
};

class SimulatedExecutor final : public Executor {
 public:
  /// `server` gives the server that is up, or null.
  SimulatedExecutor(Loop loop, Clock& clock, Chance& chance, std::function<Attempts*()> server)
      : clock_(clock), chance_(chance), server_(std::move(server)), runners_(std::move(loop)) {}

  Task<Result<void>> start(RunnerSpec spec) override;
  Task<Result<void>> stop(AttemptId attempt, Duration grace) override;
  Task<Result<std::vector<RunnerStatus>>> list() override;
  void on_end(std::function<void(RunnerStatus)> callback) override { on_end_ = std::move(callback); }
  Task<Result<void>> forget(AttemptId attempt) override;

  /// The machine is gone, and every runner of it with it; who listened is not told.
  void power_off();
  /// The server that listened is dead.
  void deafen() { on_end_ = {}; }
  void cancel() { runners_.cancel(); }
  Task<void> join() { return runners_.join(); }
  const Deeds& deeds() const { return deeds_; }

 private:
  struct Runner {
    RunnerSpec spec;
    bool running = true;
    bool killed = false;
    std::string name;
  };

  Task<void> live(std::shared_ptr<Runner> runner);
  Task<void> work(std::shared_ptr<Runner> runner, StartAnswer answer);
  Task<bool> steps(std::shared_ptr<Runner> runner, const StartAnswer& answer, FinishReport& report, std::string& log);
  Task<bool> ship(std::shared_ptr<Runner> runner, const StartAnswer& answer, const std::string& log, std::int64_t from);

  /// Asks until there is an answer, or the runner is dead.
  template <class T>
  Task<Result<T>> ask(std::shared_ptr<Runner> runner, std::function<Task<Result<T>>(Attempts&)> question);

  Clock& clock_;
  Chance& chance_;
  std::function<Attempts*()> server_;
  std::function<void(RunnerStatus)> on_end_;
  std::map<AttemptId, std::shared_ptr<Runner>> known_;
  Deeds deeds_;
  Scope runners_;
};

}  // namespace mayfly::simulation
