#pragma once
// The seam between what a runner does (sidecar/) and how its job is kept apart from the machine: the sidecar asks for a
// sandbox with mayfly-init as its first process, and never learns what makes one.

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "adapters/sandbox/registry_options.h"
#include "async/task.h"
#include "base/ids.h"
#include "base/result.h"
#include "base/time.h"
#include "domain/pipeline/plan.h"

namespace mayfly {

struct SandboxSpec {
  AttemptId attempt;
  Fence fence = {};
  std::string image;             // "host", "oci:PATH[:TAG]" or a directory
  std::vector<std::string> image_directories = {};  // images other than "host" must lie below one of these
  bool network = true;           // outbound, to the internet only
  std::vector<std::string> allowed_networks = {};   // private IPv4 networks a job may reach all the same: "10.1.0.0/16"
  std::int64_t cpu_milli = 1000;
  std::int64_t memory_bytes = 0; // 0: no limit; so for the other three
  std::int64_t disk_bytes = 0;
  std::int64_t pids = 0;
  std::string isolation = "sandbox";   // what the job runs under; a launcher that cannot give it fails
  std::string runsc = {};              // gVisor's program; empty: looked up in PATH
  std::vector<ServiceSpec> services = {};   // in the job's own network
  std::string attempt_dir;       // exists, mode 0700, ours alone; whatever the sandbox keeps on the host lives below it
  std::string cache_dir = {};    // unpacked images, disk templates, for all attempts; empty: `sandbox` beside attempt_dir's parent
  RegistryOptions registries = {};
  bool user_namespaces = false;  // the job may make some (seccomp.h); its services never
  std::string init_path;         // mayfly-init on the host; static, so it runs in any image
  /// Handed to mayfly-init as they are: `mayfly-init --control-fd C --log-fd L --workspace INSIDE`. The caller keeps its
  /// own copies and closes them; the sandbox leaves none open but init's. The environment init is started with (an image's
  /// own, HOME, PATH) is what steps begin with.
  int control_fd = -1;
  int log_fd = -1;
  /// What is worth a line of the job's log while the sandbox and its services are made ready (an image on its way). On the loop's
  /// thread; never after start_services() has returned.
  std::function<void(std::string line)> say = {};
  std::stop_token stop = {};     // nobody wants the sandbox any more: what makes it ready ends soon, with Errc::canceled
};

struct SandboxPaths {
  std::string workspace_host;    // the directory the source goes to, as seen from here
  std::string workspace_inside;  // the same directory as the job sees it
  uid_t uid = 0;                 // who the job's files must belong to, on the host
  gid_t gid = 0;
  bool owned = true;             // the workspace itself is uid's too, not only what is in it
};

struct SandboxExit {
  int exit_code = 0;             // of mayfly-init; 128 + signal when one ended it
  std::string detail;            // a sentence, when the sandbox itself could not start or was torn down
};

/// Why a job cannot go on: one of its services.
struct ServiceFailure {
  std::string name;
  Reason reason = Reason::service;
  bool again = false;            // another attempt may go better
  std::string what;              // a sentence
  std::vector<std::string> last_lines = {};   // that it wrote
};

/// One started sandbox. Destroying it kills everything inside, waits for it and frees what it held on the machine (mounts,
/// cgroup); files below attempt_dir stay.
class Sandbox {
 public:
  virtual ~Sandbox() = default;
  virtual const SandboxPaths& paths() const = 0;
  /// Returns when the job's network is up: to be awaited before its first step runs. At once for a job without. It comes up
  /// while other things are prepared, so asking late costs nothing. Errc::unavailable: it did not come up.
  virtual Task<Result<void>> network_ready() = 0;
  /// Starts the spec's services; nothing when all are ready, else why one is not. Once, beside other preparation; a cancellation ends
  /// what is under way.
  virtual Task<std::optional<ServiceFailure>> start_services() { co_return std::nullopt; }
  /// To be asked after start_services(): returns when a service has ended. At once, with nothing, when there are none to watch.
  virtual Task<std::optional<ServiceFailure>> service_ended() { co_return std::nullopt; }
  /// Returns when nothing of the sandbox runs any more; at once if that is so already. One wait at a time.
  virtual Task<Result<SandboxExit>> wait() = 0;
  /// SIGKILL to everything inside, without waiting.
  virtual void kill() = 0;
  /// Did the kernel kill a process inside for memory, so far?
  virtual bool out_of_memory() const = 0;
  /// Is, or was, its disk full?
  virtual bool disk_full() const = 0;
};

/// Starts `mayfly-init` in a new sandbox. paths() is valid and the workspace exists when it returns; init may still be on its way.
/// Errc::unsupported: the spec asks for what this machine cannot give. Errc::not_found: no such image.
/// Errc::unavailable: try another time.
Task<Result<std::unique_ptr<Sandbox>>> launch_sandbox(Loop loop, SandboxSpec spec);

}  // namespace mayfly
