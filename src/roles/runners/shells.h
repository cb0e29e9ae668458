#pragma once
// Shells in running jobs, as a gateway has them: who looks is on one side, the runner, which nobody can dial, on the other.
// The runner hears of a wanted shell through its heartbeat, wherever that waits, dials a gateway, and the two ends meet over a
// ShellWire. Every shell is in the build's history, opened before its first byte, closed with the runner's word.

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "async/scope.h"
#include "net/websocket.h"
#include "roles/builds/builds.h"
#include "roles/runners/attempts.h"
#include "roles/runners/shell_wire.h"

namespace mayfly {

inline constexpr Duration shell_patience = std::chrono::seconds(20);        // for a runner to come
inline constexpr Duration shell_ask_again = std::chrono::seconds(1);        // in case the word to it was lost
inline constexpr std::int64_t max_shown_shells = 1000;                      // of a build

/// The cache channel on which gateways say what runners are to hear: "shell ATTEMPT SHELL" or "look ATTEMPT".
inline constexpr std::string_view shells_channel = "shells";

/// A shell that was opened, and what became of it.
struct ShellRecord {
  std::string id;
  std::string who;
  JobId job;
  int attempt = 0;
  Time opened_at{};
  std::optional<Time> closed_at;             // nothing: it is open, or died with its runner
  double seconds = 0;
  std::optional<int> exit_code;
  std::string detail;
};

class Shells final {
 public:
  Shells(Database& db, Builds& builds, Attempts& attempts, Cache& cache, Clock& clock, Entropy& entropy, Loop loop)
      : db_(db), builds_(builds), attempts_(attempts), cache_(cache), clock_(clock), entropy_(entropy), loop_(std::move(loop)) {}

  /// Tells runners that wait here what others ask of them, until canceled.
  Task<void> run();

  /// The job, if it can be looked into now. Errc::conflict: it does not run (or not that attempt). Errc::forbidden: its build is a fork's.
  Task<Result<JobState>> find(JobId job, std::optional<int> attempt);
  /// One shell, from whoever looks, until either end is gone.
  Task<void> look(JobId job, std::string who, http::WebSocket& socket);
  /// The runner's end of it. Errc::not_found is told with the closing.
  Task<void> serve(AttemptId attempt, std::string shell, http::WebSocket& socket);
  /// Repeatable. Errc::not_found: nobody has opened such a shell.
  Task<Result<void>> ended(AttemptKey attempt, std::string shell, ShellReport report);

  /// The job goes on although a step failed and it was to be held. Errc::conflict: it is not held.
  Task<Result<void>> release(JobId job, std::string who);

  /// Of a job, oldest first.
  Task<Result<std::vector<ShellRecord>>> of_job(JobId job);

 private:
  /// A shell that waits for its runner.
  struct Wanted {
    AttemptId attempt;
    std::shared_ptr<ShellWire> viewer;         // once the runner has come to this very process
    std::shared_ptr<ShellWire> from_elsewhere; // always there; the runner may come to another
    bool heard_elsewhere = false;
    Signal came;
  };

  Task<Result<std::shared_ptr<ShellWire>>> runner_of(AttemptId attempt, const std::string& shell);
  Task<void> hear_elsewhere(std::shared_ptr<Wanted> wanted);
  Task<void> talk(http::WebSocket& socket, std::shared_ptr<ShellWire> wire, bool from_viewer);
  Task<void> bring_up(http::WebSocket& socket, ShellWire& wire, bool to_viewer, bool& said_exit, Scope& both);
  Task<void> bring_down(http::WebSocket& socket, ShellWire& wire, bool from_viewer, Scope& both);
  Task<Result<void>> note(JobId job, ShellNote note);
  Task<Result<std::vector<ShellRecord>>> of_build(BuildId build);

  Database& db_;
  Builds& builds_;
  Attempts& attempts_;
  Cache& cache_;
  Clock& clock_;
  Entropy& entropy_;
  Loop loop_;
  std::map<std::string, std::shared_ptr<Wanted>> wanted_;
};

}  // namespace mayfly
