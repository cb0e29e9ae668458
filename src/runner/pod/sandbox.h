#pragma once
// The job's container, beside the one this runs in, as the sidecar sees a sandbox. What keeps the job apart is the container
// runtime's; what can be done about it from here goes through init.

#include <functional>
#include <optional>
#include <string>

#include "ports/clock.h"
#include "runner/pod/door.h"
#include "runner/sandbox/launcher.h"

namespace mayfly {

inline constexpr Duration init_arrival_limit = std::chrono::minutes(15);  // pulling a large image takes long; the pool's keeper sees sooner when it fails
inline constexpr Duration pod_kill_patience = std::chrono::seconds(10);   // for init to obey

class PodSandbox final : public Sandbox {
 public:
  /// `door` and `clock` outlive it. The descriptors of `spec` are duplicated. `before`: see PodDoor::offer.
  PodSandbox(PodDoor& door, Clock& clock, const SandboxSpec& spec, std::string workspace, std::function<Result<void>()> before);
  ~PodSandbox() override;

  const SandboxPaths& paths() const override { return paths_; }
  /// When init is here: the pod's network was up before.
  Task<Result<void>> network_ready() override;
  Task<Result<SandboxExit>> wait() override;
  void kill() override;
  /// The cgroup is out of sight: init says it (InitDone), or the pool's keeper.
  bool out_of_memory() const override { return false; }
  bool disk_full() const override;

 private:
  PodDoor& door_;
  Clock& clock_;
  SandboxPaths paths_;
  std::optional<Time> killed_;
};

}  // namespace mayfly
