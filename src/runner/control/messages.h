#pragma once
// What the two halves of a runner say to each other over their socket: one JSON object a line. The sidecar believes nothing
// of it beyond its form: init runs where the job runs.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "domain/build/reason.h"
#include "domain/runner/protocol.h"
#include "runner/control/shell_messages.h"

namespace mayfly {

inline constexpr std::size_t max_control_line_bytes = 16 << 20;

struct InitStep {
  std::string name = {};
  std::string run = {};
  std::string shell = {};                  // as StepSpec's
  Env env = {};
  std::string condition = {};              // `if`; empty: success(), for a `finally` step always()
  std::optional<Duration> timeout = {};
  bool finally = false;
  bool operator==(const InitStep&) const = default;
};

/// All that mayfly-init must know of a job.
struct InitJob {
  std::vector<InitStep> steps = {};
  Env env = {};                            // of every step
  Env secrets = {};                        // the same, and masked
  Duration timeout = std::chrono::minutes(60);
  Duration term_grace = std::chrono::seconds(10);      // between SIGTERM and SIGKILL when a time limit has passed
  Duration finally_limit = std::chrono::seconds(30);   // for all steps that run after a cancel or the job's timeout
  std::int64_t log_limit = max_log_bytes;
  std::int64_t log_begin = 0;              // the log's length so far: what the sidecar said before
  Duration hold{};                                     // a step that fails makes the job wait so long for people; 0: none does
  bool operator==(const InitJob&) const = default;
};

struct CancelJob {
  Duration grace{};                   // between SIGTERM and SIGKILL
  Outcome outcome = Outcome::canceled;  // or timeout
  std::string why = {};               // for the log; empty: somebody canceled
  std::optional<Duration> finally_limit = {};  // instead of the job's, where there is a hurry
  bool operator==(const CancelJob&) const = default;
};

/// The state of the job so far, as success(), failure() and always() see it.
enum class JobSoFar { success, failure, canceled };

/// Asks the sidecar whether step `step` runs; the job waits for the answer.
struct AskCondition {
  std::int64_t step = 0;
  JobSoFar so_far = JobSoFar::success;
  Env env = {};                            // the step's, with what earlier steps wrote to $CI_ENV; no secrets
  std::map<std::string, std::string> outputs = {};
  bool operator==(const AskCondition&) const = default;
};

struct ConditionAnswer {
  std::int64_t step = 0;
  bool run = false;
  std::string error = {};                  // the expression's; then the step fails
  bool operator==(const ConditionAnswer&) const = default;
};

struct StepChange {
  std::int64_t step = 0;
  StepState state = {};
  bool operator==(const StepChange&) const = default;
};

/// The last message: nothing of the job runs any more, and its log is complete.
struct InitDone {
  Outcome outcome = Outcome::success; // never infrastructure, but when the log could not be written
  std::string detail = {};
  std::optional<int> exit_code = {};
  bool killed = false;                // a step got a SIGKILL that init did not send: memory, perhaps
  bool out_of_memory = false;         // the container's own cgroup counts kills for memory, where init can see it
  std::map<std::string, std::string> outputs = {};
  std::int64_t log_bytes = 0;         // the log's length
  std::int64_t dropped_bytes = 0;     // output beyond log_limit
  bool operator==(const InitDone&) const = default;
};

using ToInit = std::variant<InitJob, CancelJob, ConditionAnswer, OpenShell, ShellInput, ShellResize, CloseShell, ShellTaken, ReleaseHold>;
using FromInit = std::variant<AskCondition, StepChange, InitDone, ShellOutput, ShellTaken, ShellEnded, HoldChange>;

/// One line, with its '\n'.
std::string to_line(const ToInit&);
std::string to_line(const FromInit&);
/// Errc::invalid names the field that is wrong. `line` may end with '\n'.
Result<ToInit> to_init_from(std::string_view line);
Result<FromInit> from_init_from(std::string_view line);

}  // namespace mayfly
