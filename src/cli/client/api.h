#pragma once
// The server's HTTP API as typed calls (API.md "HTTP"). Thin: one call a method, and the three streams (log, events,
// artifact bytes) with what it takes to resume them.

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/client/endpoint.h"
#include "cli/client/types.h"
#include "net/client.h"
#include "net/url.h"
#include "ports/clock.h"

namespace mayfly::cli {

struct NewProject {
  std::string name = {};
  std::string repo_url = {};
  std::string organization = {};
  std::string webhook_secret = {};
  int weight = 0;  // 0: the server's default
};

struct NewBuild {
  std::string ref = {};
  std::string sha = {};
  std::map<std::string, std::string> inputs = {};
  std::optional<Duration> hold = {};  // of jobs that fail
};

struct NewToken {
  std::string name = {};
  std::string role = {};
  std::optional<Duration> lifetime = {};
};

struct BuildFilter {
  std::string project = {};  // name or id
  std::string status = {};
  std::string ref = {};
};

/// Which bytes of which log. `attempt` 0 is the job's latest.
struct LogPosition {
  std::string job_id = {};
  std::int64_t attempt = 0;
  std::int64_t from = 0;
};

using Sink = std::function<void(std::string_view bytes)>;

inline constexpr std::chrono::seconds call_timeout{30};
inline constexpr std::chrono::minutes fetch_timeout{5};      // of a call that waits for git
inline constexpr std::chrono::seconds silence_timeout{45};  // of a stream; the server sends a heartbeat every 15 s

/// A `project` is a name or an id. Errors of every call: Errc::unavailable and Errc::timeout when the server could not be reached, else what its
/// problem+json says.
class Api final {
 public:
  Api(http::Client& client, const Clock& clock, Endpoint endpoint);

  Task<Result<Project>> add_project(NewProject project);
  Task<Result<Page<Project>>> projects(std::optional<std::string> cursor);
  Task<Result<Project>> project(std::string name_or_id);

  Task<Result<Build>> trigger(std::string project, NewBuild wanted);
  Task<Result<Page<Build>>> builds(BuildFilter filter, int limit, std::optional<std::string> cursor);
  Task<Result<Build>> build(std::string id);
  Task<Result<void>> cancel(std::string build_id);
  Task<Result<std::string>> retry(std::string build_id, std::vector<std::string> jobs, std::optional<Duration> hold = {});  // the new build's id

  /// Runs `use` on a shell in the job (domain/runner/shell.h).
  Task<Result<void>> shell(std::string job_id, std::optional<int> attempt, http::WebSocketUse use);
  Task<Result<void>> release(std::string job_id);

  Task<Result<Page<Artifact>>> artifacts(std::string build_id, std::optional<std::string> cursor);
  /// Its bytes from `from` on; what arrived before an error was handed to `sink`.
  Task<Result<void>> artifact_bytes(std::string artifact_id, std::int64_t from, Sink sink);

  Task<Result<void>> set_secret(std::string project, std::string name, std::string value);
  Task<Result<Page<std::string>>> secrets(std::string project, std::optional<std::string> cursor);
  Task<Result<void>> remove_secret(std::string project, std::string name);
  Task<Result<Page<Pool>>> pools();
  Task<Result<Pool>> drain_pool(std::string name);
  Task<Result<Pool>> resume_pool(std::string name);
  Task<Result<std::string>> create_token(NewToken wanted);  // the answer's JSON; its field `token` is shown once

  /// What the log holds now, from `position.from` on; `position.from` moves past what was handed to `sink`.
  Task<Result<void>> stored_log(LogPosition& position, Sink sink);
  /// Some of it: "100-199" or "-500", as a Range header counts. Empty when there is nothing there.
  Task<Result<std::string>> log_piece(std::string job_id, std::int64_t attempt, std::string range);
  /// The log until it ends (true) or the connection does (false, or an error); `position.from` moves along.
  Task<Result<bool>> live_log(LogPosition& position, Sink sink);

  /// Calls `moved` once when the stream is open and then whenever the build moves, until it returns false, which is a
  /// success, or the connection ends, which is not.
  Task<Result<void>> build_events(std::string build_id, std::function<Task<Result<bool>>()> moved);

  const Endpoint& endpoint() const { return endpoint_; }

 private:
  http::ClientRequest request(std::string method, std::string path) const;
  http::ClientRequest json_request(std::string path, std::string body) const;
  Task<Result<std::string>> call(http::ClientRequest request);
  Task<Result<std::string>> get(std::string path) { return call(request("GET", std::move(path))); }
  Task<Result<std::string>> post(std::string path, std::string body) { return call(json_request(std::move(path), std::move(body))); }
  Task<Result<std::unique_ptr<http::ClientStream>>> open(http::ClientRequest request);
  Task<Result<bool>> pump(http::ClientStream& stream, std::function<Task<Result<bool>>(std::string_view)> take);

  http::Client& client_;
  const Clock& clock_;
  Endpoint endpoint_;
};

}  // namespace mayfly::cli
