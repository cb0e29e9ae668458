#pragma once
// The course of an attempt, beside its sandbox: trades the boot token, fills the workspace, lets init run the steps, brings
// log and step states to the server while they run, artifacts and the last word after them.

#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>

#include "async/offload.h"
#include "async/scope.h"
#include "async/signal.h"
#include "domain/build/reason.h"
#include "ports/executor.h"
#include "runner/sandbox/launcher.h"
#include "runner/sidecar/api.h"
#include "runner/sidecar/control_link.h"
#include "runner/sidecar/log_shipper.h"
#include "runner/sidecar/workspace.h"

namespace mayfly {

inline constexpr Duration init_patience = std::chrono::seconds(15);      // over all limits init keeps itself, before it is killed
inline constexpr Duration exit_patience = std::chrono::seconds(10);      // from init's last word to the end of the sandbox
inline constexpr int max_log_resends = 16;                                 // after a report that was refused because the log is not all there
inline constexpr Duration default_cancel_grace = std::chrono::seconds(5);   // of a cancel that names none

using LaunchSandbox = std::function<Task<Result<std::unique_ptr<Sandbox>>>(Loop, SandboxSpec)>;

/// Everything but the sandbox's descriptors, which the sidecar makes.
struct SidecarSpec {
  RunnerSpec runner;           // with its boot token
  SandboxSpec sandbox;
  std::string runner_id;       // names this process to the server
  std::string log_files = {};  // a folder: the log is left there for another shipper; empty: we ship it
  std::string identity = {};   // what the platform says of this runner (StartRequest), in place of a boot token
  /// Why an earlier process of this same runner ended, if there was one that had the job: then nothing is started, the log it left is
  /// shipped, and the attempt ends as runner_lost.
  std::string lost = {};
  Duration platform_patience = {};  // for the pool to say why the job's container is gone, before we say that we do not know
};

/// How the runner ended, for whoever started it.
struct SidecarEnd {
  Reason reason = Reason::exit_code;   // exit_code: it did its work, or had none to do
  std::string detail = {};
  bool refused = false;                // another runner was first, or the attempt was over
};

class Attempt;

class Sidecar final {
 public:
  /// All outlive this.
  Sidecar(Loop loop, Clock& clock, Offload& offload, RunnerApi& api, LaunchSandbox launch, SidecarSpec spec);
  ~Sidecar();
  Sidecar(const Sidecar&) = delete;
  Sidecar& operator=(const Sidecar&) = delete;

  /// Runs the attempt to its end; when it returns nothing of it runs on this machine.
  Task<SidecarEnd> run();
  /// Asks for a cancel, as the server may. From the loop's thread.
  void cancel(Duration grace);
  /// The platform wants this runner gone: what runs gets `grace`, and the attempt ends as evicted.
  void evict(Duration grace);

 private:
  Task<SidecarEnd> run_both();
  Task<void> launch();
  Task<SidecarEnd> run_attempt();

  Loop loop_;
  Clock& clock_;
  Offload& offload_;
  RunnerApi& api_;
  LaunchSandbox launch_;
  SidecarSpec spec_;
  std::optional<LogFile> log_;
  const Time born_at_;
  std::unique_ptr<ControlLink> link_;
  UniqueFd init_end_;          // of the link, until the sandbox has it
  std::optional<Result<std::unique_ptr<Sandbox>>> sandbox_;
  Signal launched_;
  std::unique_ptr<Attempt> attempt_;
  std::optional<Duration> early_cancel_;
  std::stop_source stop_;      // of the sandbox's preparation
  std::optional<Duration> early_eviction_;
};

}  // namespace mayfly
