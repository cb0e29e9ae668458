#pragma once
// JobShells in a job, as init runs them: a program on a terminal of its own (or on pipes) in a session of its own, beside the
// steps, with their environment. What it prints is masked as the log is. Nobody outside can make init wait: at most a window's
// bytes are under way each way, and what is beyond it stays with the program.

#include <sys/types.h>

#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>

#include "domain/logs/masker.h"
#include "runner/init/events.h"
#include "runner/init/processes.h"

namespace mayfly {

inline constexpr std::size_t max_early_messages = 64;                     // before the job has begun; more are dropped
inline constexpr Duration shell_hangup_grace = std::chrono::seconds(2);   // between SIGHUP and SIGKILL when whoever looked is gone
inline constexpr Duration shell_kill_patience = std::chrono::seconds(10);   // for a SIGKILL to be obeyed

class JobShells final : public Watched {
 public:
  /// What shells of the running job are made of.
  struct Setting {
    std::shared_ptr<const MaskPatterns> patterns;
    std::function<Result<StepCommand>(const ShellWish&)> command;
    std::function<void(std::string)> say;      // a line in the job's log
  };

  /// Both outlive it.
  JobShells(Events& events, StepStarter& starter);
  ~JobShells() override;

  /// From here on shells can be opened; those that were wanted before are.
  void allow(Setting setting);
  /// SIGKILL to all of them, and none is opened any more: `why` says what ended.
  void end_all(std::string why);

  // Watched.
  void take(ToInit& message) override;
  void add_to(std::vector<pollfd>& fds) override;
  void on_poll(std::span<const pollfd> fds) override;
  void tick() override;
  Time due() const override;

 private:
  struct Output {
    int fd = -1;
    ShellStream stream = ShellStream::out;
    Masker masker;
  };
  struct Shell {
    std::int64_t number = 0;
    std::string who = {};
    pid_t pid = -1;
    int in = -1;                       // on a terminal the same as the output's
    bool tty = false;
    std::vector<Output> outputs = {};
    std::string input = {};              // not taken by the program yet
    bool input_ends = false;
    std::int64_t taken = 0;            // of the input
    std::string masked = {};             // of one stream at a time, not sent yet
    ShellStream masked_stream = ShellStream::out;
    std::int64_t sent = 0;
    std::int64_t acknowledged = 0;
    Time opened{};
    Time kill_at = Time::max();
    Time killed{};                     // the program has ended, and the rest of its session is on its way
    std::optional<int> status = {};
    std::string why = {};              // it is ended by us
  };

  void open(const OpenShell& wanted);
  void refuse(std::int64_t number, std::string why);
  Result<void> start(Shell& shell, const StepCommand& command, const ShellWish& wish);
  void feed(Shell& shell, ShellInput& input);
  void write(Shell& shell);
  void read(Shell& shell, Output& output);
  void send_masked(Shell& shell);
  void hang_up(Shell& shell, std::string why, Duration grace);
  void look_after(Shell& shell);
  bool is_over(Shell& shell);
  void say_end(Shell& shell);
  bool has_room(const Shell& shell) const { return shell.masked.empty() && shell.sent - shell.acknowledged < shell_window_bytes; }
  Shell* find(std::int64_t number);

  Events& events_;
  StepStarter& starter_;
  std::optional<Setting> setting_;
  std::vector<ToInit> early_;          // what was asked before allow()
  std::string ended_;
  std::list<Shell> shells_;
  std::vector<std::pair<Shell*, int>> polled_;   // whose descriptors the last add_to() gave: output's index, or -1 for input
};

}  // namespace mayfly
