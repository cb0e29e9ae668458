#pragma once
// One shell in a job, from this process's terminal (domain/runner/shell.h).

#include <optional>
#include <string>

#include "cli/session.h"
#include "cli/terminal.h"

namespace mayfly::cli {

inline constexpr int broken_off = 255;   // the shell ended without an exit code of its own

struct ShellOptions {
  std::string job_id = {};
  std::optional<int> attempt = {};
  std::vector<std::string> command = {};
  bool plain = false;                    // no terminal in the job, whatever there is here
};

struct ShellOutcome {
  std::optional<int> exit_code = {};
  std::string detail = {};               // why it ended otherwise
  bool detached = false;                 // by `~.`
};

/// Until the shell or the connection has ended. Errors are those of the server's refusal, and of reaching it.
Task<Result<ShellOutcome>> open_shell(Session& session, Terminal& terminal, ShellOptions options);

/// Says on standard error what is not plain from the exit code, which it returns.
int conclude(Session& session, const ShellOutcome& outcome);

}  // namespace mayfly::cli
