#include "adapters/sandbox/sandbox_executor.h"

#include "adapters/host_runners/host_runners.h"
#include "adapters/sandbox/probe.h"
#include "base/log.h"

namespace mayfly {
namespace {

constexpr Duration cgroups_abandoned_after = std::chrono::hours(1);

Time now() { return std::chrono::time_point_cast<Duration>(std::chrono::system_clock::now()); }

}  // namespace

std::unique_ptr<Executor> make_sandbox_executor(Loop loop, Offload& offload, SandboxExecutorOptions options) {
  auto facts = probe_machine();
  for (auto& sentence : shortfalls(facts)) log_warn("sandbox: " + sentence);
  offload.post([mounts = facts.cgroups] { remove_abandoned_cgroups(mounts, now() - cgroups_abandoned_after); });
  HostRunnersOptions runners{options.data_dir, options.runner_program, facts.loop_devices ? options.spare_disks : 0, options.log_files, {}};
  runners.describe = [options = std::move(options)](RunnerSpec spec) {
    RunnerFile file{.spec = std::move(spec), .cache_dir = options.data_dir + "/sandbox", .image_directories = options.image_directories,
                    .allowed_networks = options.allowed_networks, .log_files = options.log_files, .runsc = options.runsc};
    file.registries = options.registries;
    file.user_namespaces = options.user_namespaces;
    return file;
  };
  return make_host_runners(std::move(loop), offload, std::move(runners));
}

}  // namespace mayfly
