#pragma once
// Starting a step's shell, and reaching every process of the job, wherever it has hidden (own sessions, double forks).

#include <sys/types.h>

#include <string>
#include <vector>

#include "base/result.h"
#include "domain/pipeline/plan.h"

namespace mayfly {

struct StepCommand {
  std::vector<std::string> argv;
  Env env;
  std::string directory;
};

/// Descriptors are close-on-exec and, of the two outputs, non-blocking.
struct StepProcess {
  pid_t pid = -1;              // leads its own session and process group
  int out = -1;                // read ends of its standard output and error
  int err = -1;
};

/// What a process is started on.
struct ChildStreams {
  int in = -1;                 // -1: /dev/null
  int out = -1;
  int err = -1;
  bool terminal = false;       // `in` is one, and becomes the session's
};

/// Starts steps as first choice of the kernel's out-of-memory killer: a job that eats all memory must be shot before its init.
class StepStarter final {
 public:
  StepStarter();  // before PR_SET_DUMPABLE is taken away, which closes /proc/self too
  ~StepStarter();
  StepStarter(const StepStarter&) = delete;
  StepStarter& operator=(const StepStarter&) = delete;

  /// Errc::unavailable when the kernel has no process or descriptor left. A program that cannot be executed is a process
  /// that says so on its standard error and ends with 126 or 127, as a shell does it.
  Result<StepProcess> start(const StepCommand& command);
  /// The same on descriptors of the caller's, who closes them.
  Result<pid_t> start_on(const StepCommand& command, ChildStreams streams);

 private:
  void set_score(std::string_view score);

  int score_fd_;
};

/// How often the kernel has killed for memory in this container, as far as its cgroup can be seen from inside; 0 if it cannot.
std::int64_t memory_kills();

/// Makes orphans of this process's descendants its children, also when it is not process 1.
void adopt_orphans();

/// `signal` to all processes of the job but this one.
void signal_all(int signal);

/// `signal` to every process of the session that `leader` began; false when there is none.
bool signal_session(pid_t leader, int signal);

/// SIGKILL to all of them until none is left, and reaps them.
void kill_all();

}  // namespace mayfly
