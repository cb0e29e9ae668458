#pragma once
// Logs on their way to a screen: one job's bytes as they are, or every job's lines, each after its job's name. What a broken
// connection had shown already is not shown again.

#include <map>
#include <set>
#include <string>

#include "async/scope.h"
#include "async/signal.h"
#include "cli/session.h"

namespace mayfly::cli {

/// Puts a prefix before each line of a text that comes in pieces.
class LinePrefixer final {
 public:
  LinePrefixer(std::string prefix, Sink sink) : prefix_(std::move(prefix)), sink_(std::move(sink)) {}
  void feed(std::string_view bytes);
  void end();  // a last line without its newline

 private:
  std::string prefix_;
  Sink sink_;
  std::string line_;
};

inline constexpr std::size_t max_prefixed_line_bytes = 64 * 1024;  // a longer line is shown in pieces

/// Follows the logs of a build's jobs, attempt by attempt, from their first byte until they end.
class LogFollower final {
 public:
  /// `job` empty: every job, with prefixes.
  LogFollower(Session& session, std::string build_id, std::string job);

  /// The build when everything was shown; for one job, when that job has ended.
  Task<Result<Build>> run();

 private:
  bool look(const Build& build);
  Task<void> follow_build_then_stop();
  Task<void> follow_job(std::string name);
  Task<Result<void>> follow_attempt(LogPosition position, Sink sink);

  Session& session_;
  std::string build_id_;
  std::string job_;
  std::map<std::string, Job> jobs_;  // as last seen, by name
  std::size_t name_width_ = 0;
  std::optional<Result<Build>> result_;
  bool build_ended_ = false;
  Signal moved_;
  Scope scope_;
};

/// Where the lines of a job go: the session's output, after "name | " if there are several jobs.
std::string log_prefix(std::string_view job, std::size_t width, const Style& style);

}  // namespace mayfly::cli
