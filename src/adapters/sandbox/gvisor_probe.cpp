#include "adapters/sandbox/gvisor_probe.h"

#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>

#include "adapters/sandbox/tools.h"

namespace mayfly {

Result<void> probe_gvisor(const std::string& runsc, Duration patience) {
  std::string state = (std::filesystem::temp_directory_path() / "mayfly-gvisor-XXXXXX").string();
  if (!mkdtemp(state.data())) return fail(Errc::unavailable, "gVisor: cannot make a directory below " + state);
  std::vector<std::string> arguments = {runsc, "--root=" + state, "--platform=systrap", "--network=none", "--ignore-cgroups", "--host-settings=ignore", "--log=/dev/null"};
  if (geteuid() != 0) arguments.emplace_back("--rootless");
  arguments.insert(arguments.end(), {"do", "/bin/true"});
  auto until = std::chrono::steady_clock::now() + patience;
  auto in_time = [until, patience]() -> Result<void> {
    if (std::chrono::steady_clock::now() < until) return {};
    return fail(Errc::timeout, "gVisor: nothing has started under it within " + format_duration(patience));
  };
  auto ran = run_tool(arguments, {.look = in_time});
  std::error_code ignored;
  std::filesystem::remove_all(state, ignored);
  TRY(std::move(ran));
  return {};
}

}  // namespace mayfly
