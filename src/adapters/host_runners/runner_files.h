#pragma once
// The files by which an executor and its mayfly-runners know each other, in the attempt's directory (DIR/runners/<attempt>).
// They outlive both processes: an executor started later learns from them what became of its predecessor's runners.
//
//   runner.json   executor → runner: everything it is born with but the boot token, which comes on its standard input,
//                 as the whole of it
//   process.json  executor → executor: which process it is (see RunnerProcess)
//   ended.json    runner → executor: how it ended; written and renamed last. Missing when the process is gone: runner_lost
//   runner.log    the runner's stdout and stderr, at most max_runner_log_bytes

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "adapters/sandbox/registry_options.h"
#include "base/result.h"
#include "domain/build/reason.h"
#include "ports/executor.h"

namespace mayfly {

inline constexpr const char* runner_file_name = "runner.json";
inline constexpr const char* process_file_name = "process.json";
inline constexpr const char* ended_file_name = "ended.json";
inline constexpr const char* runner_log_name = "runner.log";
inline constexpr std::size_t max_runner_file_bytes = 256 << 10;
inline constexpr std::int64_t max_runner_log_bytes = 1 << 20;  // emptied past it, whenever runners are listed

/// Where a job is to be a container.
struct DockerPlace {
  std::string socket = {};         // of the engine: a path
  std::string pool = {};           // its name, and
  std::string home = {};           // where its runners are on record: together they say whose a container is
  std::string default_image = {};  // of jobs that name none; empty: there is none
  std::string network = {};        // an operator's own, for jobs with network; empty: ours, behind rules of ours
  std::string runtime = {};        // of the engine's; empty: its default
  bool operator==(const DockerPlace&) const = default;
};

struct RunnerFile {
  RunnerSpec spec;                            // boot_token stays empty
  std::string cache_dir;                      // for SandboxSpec
  std::vector<std::string> image_directories; // for SandboxSpec
  std::vector<std::string> allowed_networks;  // for SandboxSpec
  std::string log_files = {};                 // for SidecarSpec
  std::string runsc = {};                     // for SandboxSpec
  std::optional<DockerPlace> docker = {};     // nothing: a sandbox of this machine
  RegistryOptions registries = {};            // for SandboxSpec
  bool user_namespaces = false;               // for SandboxSpec
};

struct EndedFile {
  Reason reason = Reason::none;  // of RunnerStatus: exit_code when the runner simply ended
  std::string detail;
  bool operator==(const EndedFile&) const = default;
};

/// A process, told apart from a later one of the same number by when it started (clock ticks since boot, and which boot).
struct RunnerProcess {
  pid_t pid = 0;
  std::uint64_t start_ticks = 0;
  std::string boot_id;
  bool operator==(const RunnerProcess&) const = default;
};

std::string to_json(const RunnerFile&);
std::string to_json(const EndedFile&);
std::string to_json(const RunnerProcess&);
/// Errc::corrupt names the field that is wrong.
Result<RunnerFile> runner_file_from_json(std::string_view);
Result<EndedFile> ended_file_from_json(std::string_view);
Result<RunnerProcess> runner_process_from_json(std::string_view);

/// Written beside and renamed: whoever reads it reads all of it or nothing. Not synced: a crash of the machine ends runners too, and
/// what it tears reads as corrupt.
Result<void> write_file_atomically(const std::string& path, std::string_view text);
/// Errc::not_found; Errc::too_large past max_runner_file_bytes.
Result<std::string> read_small_file(const std::string& path);

}  // namespace mayfly
