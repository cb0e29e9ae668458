#pragma once
// The server's side of the runner protocol (domain/runner/protocol.h), free of HTTP: each call proves who it speaks for,
// is checked against the build's state, and is safe to repeat.

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "async/signal.h"
#include "ports/cache.h"
#include "ports/forge.h"
#include "ports/secrets.h"
#include "roles/builds/builds.h"
#include "roles/logs/log_intake.h"
#include "roles/runners/artifact_store.h"
#include "roles/runners/heartbeats.h"
#include "roles/runners/identity.h"

namespace mayfly {

/// What a runner shows with every call after start.
struct RunnerCredentials {
  std::string token;
  Fence fence;
};

class Attempts final {
 public:
  Attempts(Database& db, Builds& builds, LogIntake& logs, ArtifactStore& artifacts, Secrets& secrets, Forge& forge, Cache& cache,
           Clock& clock, const RunnerIdentity& identity, std::string api_url);

  /// Hears of attempts that are to stop, and forgets those that are over, until canceled.
  Task<void> run();

  /// The first runner wins; the same runner asking again is answered again. Errc::conflict: another was first, or the
  /// attempt is over. Errc::unauthenticated.
  Task<Result<StartAnswer>> start(AttemptId attempt, StartRequest request);

  /// Answers when the attempt is to be canceled, or after request.wait_ms. Errc::fenced: it is no longer current.
  Task<Result<HeartbeatAnswer>> heartbeat(AttemptId attempt, RunnerCredentials who, HeartbeatRequest request);
  Task<Result<LogsAnswer>> logs(AttemptId attempt, RunnerCredentials who, std::string frames);
  /// As logs(), for a shipper of logs, and durable when it returns. Without `who` the caller has proved that it speaks for all attempts.
  Task<Result<LogsAnswer>> ship(AttemptId attempt, std::optional<RunnerCredentials> who, std::string frames);
  Task<Result<void>> steps(AttemptId attempt, RunnerCredentials who, StepsReport report);
  /// Errc::invalid: the log is not all here yet. Repeatable.
  Task<Result<void>> finish(AttemptId attempt, RunnerCredentials who, FinishReport report);

  /// Whose artifacts may be written, once the caller has proved to be this attempt's runner.
  Task<Result<ArtifactOwner>> artifact_owner(AttemptId attempt, RunnerCredentials who);
  /// An artifact of a job that this attempt's job needs. Errc::not_found.
  Task<Result<Artifact>> needed_artifact(AttemptId attempt, RunnerCredentials who, ArtifactId artifact);

  /// Git's answer to a runner that fetches the commit of its job, made ready here first: see Forge::serve. Errc::not_found: the job has no source.
  Task<Result<std::unique_ptr<SourceStream>>> source(AttemptId attempt, RunnerCredentials who, std::optional<std::string> request);
  /// Its runner is told with its heartbeat, at once if that waits here. Nothing where it does not.
  void want_shell(AttemptId attempt, std::string shell);
  /// The waiting heartbeat looks again.
  void nudge(AttemptId attempt);
  /// The attempt, once the caller has proved to be its runner; it may have ended.
  Task<Result<AttemptKey>> proved(AttemptId attempt, RunnerCredentials who);

  /// Answers every heartbeat that waits, and every later one at once: the server is about to stop.
  void drain();

 private:
  struct Live {
    AttemptKey key;
    Time seen{};
    Time told{};                // when the cache was last told so
    std::optional<Time> first_byte_at = {};   // of its log, if it came here
    std::vector<std::string> shells;   // wanted, and not told yet
    std::shared_ptr<Signal> moved = std::make_shared<Signal>();
  };
  struct Current {
    AttemptKey key;
    std::shared_ptr<const BuildRecord> record;
    const JobState* job = nullptr;
  };

  Task<Result<AttemptKey>> key_of(AttemptId attempt);
  Task<Result<Current>> current(AttemptId attempt, RunnerCredentials who);
  Task<Result<Current>> current(AttemptKey key);
  Task<Result<LogsAnswer>> append(const Current& now, std::string frames);
  Task<Result<RunnerJob>> runner_job(const BuildRecord& record, const JobState& job);
  Task<Result<std::string>> weaker_than_promised(const BuildRecord& record, const JobState& job);
  Task<Result<void>> check_identity(const AttemptKey& key, const StartRequest& request);
  Task<Result<std::vector<NeededJob>>> needs_of(const BuildRecord& record, const JobState& job);
  Task<void> seen(AttemptKey key);
  void forget_silent();
  std::optional<Time> first_byte_of(AttemptId attempt, std::optional<Time> said) const;
  void observe(const BuildState& state, const Effects& effects);

  Database& db_;
  Builds& builds_;
  LogIntake& logs_;
  ArtifactStore& artifacts_;
  Secrets& secrets_;
  Forge& forge_;
  Cache& cache_;
  Clock& clock_;
  const RunnerIdentity& identity_;
  std::string api_url_;
  std::map<AttemptId, Live> live_;
  bool draining_ = false;
};

}  // namespace mayfly
