#pragma once
// An attempt that is ours: everything from the answer to `start` to the last report.

#include <memory>
#include <optional>

#include "runner/sidecar/shell_bridge.h"
#include "runner/sidecar/sidecar.h"
#include "runner/sidecar/verdict.h"

namespace mayfly {

inline constexpr Duration step_report_delay = std::chrono::milliseconds(100);  // so that short steps are one report
inline constexpr Duration shell_words_limit = std::chrono::seconds(5);           // for the server to hear that shells have ended with the job
inline constexpr Duration shortest_heartbeat = std::chrono::milliseconds(500); // between two that bring nothing

/// What the sidecar has by then; all of it outlives the attempt.
struct AttemptParts {
  Loop loop;
  Clock& clock;
  Offload& offload;
  RunnerApi& api;
  LogFile& log;
  ControlLink& link;
  std::optional<Result<std::unique_ptr<Sandbox>>>& sandbox;   // there once `launched` was notified
  Signal& launched;
  const SidecarSpec& spec;
  std::stop_source& stop;      // of the sandbox's preparation
};

class Attempt final {
 public:
  Attempt(AttemptParts parts, StartAnswer answer);
  ~Attempt();

  Task<SidecarEnd> run();
  void cancel(Duration grace);
  void evict(Duration grace);

 private:
  // The course, one after another.
  Task<void> course();
  Task<std::optional<FinishReport>> prepare();
  FinishReport stopped_early() const;
  Task<void> await_platform(const FinishReport& report);
  Task<void> fill(std::optional<FinishReport>& early);
  Task<void> start_services(std::optional<FinishReport>& early);
  void stop_filling(std::optional<FinishReport>& early, FinishReport why);
  Task<FinishReport> run_steps();
  Task<void> close_sandbox(Evidence& evidence);
  Task<void> watch_services();
  Task<void> kill_late(Timer& patience);
  Task<void> wait_for_exit(Timer& patience, std::optional<Result<SandboxExit>>& exit);
  Task<void> deliver(FinishReport& report);
  void add_service_lines(Workspace::Notes& notes);
  Task<void> finish(FinishReport report);
  Task<Result<bool>> send_log_again();
  /// As the server knows them: without ours.
  std::vector<StepState> pipeline_steps() const;
  InitJob init_job() const;
  bool wants_artifacts(const FinishReport& report) const;

  // Beside it.
  Task<void> heartbeat();
  Task<void> ship_log();
  Task<void> watch_log();
  Task<void> report_steps();
  Task<void> listen();
  void on_change(const StepChange& change);
  void on_question(const AskCondition& question);
  bool on_shell(FromInit& message);
  void on_hold(const HoldChange& hold);

  /// The attempt is no longer ours, or the server is gone for good: nothing more is said, everything is killed.
  void give_up(const Error& error);
  bool is_final(const Error& error) const;
  void breach(std::string what);
  Sandbox* sandbox() const;
  /// Waits until `done()`; false at `until`. Whatever happens in the attempt wakes it.
  Task<bool> until(std::function<bool()> done, Time at);

  AttemptParts p_;
  RunnerJob job_;
  std::vector<StepState> steps_;
  std::size_t steps_before_ = 0;          // steps of ours in front of the pipeline's
  std::unique_ptr<Workspace> workspace_;
  LogShipper shipper_;
  ShellBridge shells_;
  Signal news_;                           // something the course may wait for
  Signal steps_changed_;
  Scope filling_;                         // the filling of the workspace, which a cancel ends
  Time started_{};
  std::optional<CancelJob> cancel_;
  bool evicted_ = false;                  // that is why it was canceled
  bool running_ = false;                  // init has the job
  std::optional<ServiceFailure> service_failure_;
  std::optional<Time> held_until_;
  bool released_ = false;                 // init knows
  std::optional<InitDone> done_;
  bool hung_up_ = false;
  std::string breach_;
  bool shipped_ = false;
  bool finishing_ = false;                // the last report is under way
  std::optional<SidecarEnd> end_;
};

}  // namespace mayfly
