#pragma once
// The course of a job inside its sandbox: one step after another, time limits, cancel, `finally`, and the last word.

#include <optional>
#include <string>
#include <vector>

#include "runner/init/events.h"
#include "runner/init/processes.h"
#include "runner/init/scratch.h"
#include "runner/init/shell.h"

namespace mayfly {

inline constexpr Duration output_linger = std::chrono::milliseconds(100);  // for output that outlives its step's process
inline constexpr Duration kill_patience = std::chrono::seconds(10);        // for a SIGKILL to be obeyed

class Job final {
 public:
  struct Settings {
    std::string workspace;
    Env env;            // what the image and the sandbox give to every process
    std::string tmp;    // where scratch files may be made
  };

  Job(Events& events, StepStarter& starter, LogWriter& log, JobShells& shells, InitJob job, Settings settings);

  /// Runs everything; afterwards no process of the job is left and the log is written.
  InitDone run();

 private:
  enum class Stopped { no, canceled, timed_out };

  void run_step(std::size_t i);
  bool should_run(std::size_t i);
  bool ask(std::size_t i);
  void execute(std::size_t i);
  void wait_for_end(std::size_t i, pid_t pid);
  void end_group(pid_t pid);
  /// A step has failed: people may look before anything else happens.
  void hold(std::size_t i);
  void check_stop();
  void stop_all(Stopped why, Duration grace, Duration finally_limit);
  void judge(std::size_t i, int status);
  void collect(std::size_t i, const StepFiles& files);
  void take_outputs(std::size_t i, std::map<std::string, std::string> values);

  Result<StepCommand> shell_command(const ShellWish& wish) const;
  std::optional<StepCommand> command(std::size_t i, const StepFiles& files);
  Env step_env(std::size_t i) const;
  std::string find_program(std::string_view name, const Env& env) const;

  void fail_step(std::size_t i, std::string detail);
  void set_status(std::size_t i, StepStatus status);
  std::string quoted(std::size_t i) const { return "step '" + job_.steps[i].name + "'"; }
  std::uint16_t number(std::size_t i) const { return static_cast<std::uint16_t>(i); }
  JobSoFar so_far() const;
  /// When everything must be over: the job's limit, and after that or a cancel the limit of what runs nevertheless.
  Time limit() const { return stopped_ == Stopped::no ? job_end_ : finally_end_; }

  Events& events_;
  StepStarter& starter_;
  LogWriter& log_;
  JobShells& shells_;
  InitJob job_;
  Settings settings_;
  std::optional<Scratch> scratch_;
  std::vector<StepState> states_;
  std::size_t current_ = 0;          // the step that runs, or ran last
  bool held_ = false;
  Env later_env_;                    // from $CI_ENV
  std::size_t kept_bytes_ = 0;       // of later_env_ and the outputs together
  InitDone done_;
  std::int64_t memory_kills_before_ = 0;
  Stopped stopped_ = Stopped::no;
  bool step_timed_out_ = false;      // the running step, by its own limit
  bool interrupted_ = false;         // by a cancel or the job's limit
  Time job_end_{};
  Time finally_end_{};
  std::string cancel_detail_ = "the job was canceled";
};

}  // namespace mayfly
