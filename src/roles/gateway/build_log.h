#pragma once
// A build's log as one text: the logs of its attempts, in the order of its jobs, each under a line that names it. Offsets
// into it stay good while the build runs, because a part follows only when the one before it has its final length.

#include <string>
#include <vector>

#include "ports/clock.h"
#include "roles/builds/builds.h"
#include "roles/logs/log_intake.h"

namespace mayfly {

struct LogPart {
  AttemptId attempt;             // nil: `title` only
  std::string title;             // "==> test (attempt 2) <==\n"
  std::int64_t bytes = 0;        // of the attempt's log, as far as it has come
  bool final = false;

  std::int64_t size() const { return std::int64_t(title.size()) + bytes; }
};

struct LogOutline {
  std::vector<LogPart> parts;
  bool final = false;            // nothing will be added
  std::int64_t size() const;
};

struct AttemptRow {
  AttemptId id;
  JobId job;
  int number = 0;
  bool final = false;            // its log has its last byte
};

/// By job, then number.
Task<Result<std::vector<AttemptRow>>> attempts_of_build(Database& db, Clock& clock, BuildId build);

enum class Outline {
  now,                           // everything there is at this moment
  in_order,                      // stops after the first part that may still grow, so that offsets are final
};
Task<Result<LogOutline>> build_log_outline(const std::vector<AttemptRow>& attempts, LogReader& logs, const BuildState& build, Outline kind);

/// One attempt, without a title.
Task<Result<LogOutline>> attempt_log_outline(AttemptRow attempt, LogReader& logs);

/// Up to `max` bytes from `from`; empty at the end.
Task<Result<std::string>> read_log(LogReader& logs, const LogOutline& outline, std::int64_t from, std::size_t max);

}  // namespace mayfly
