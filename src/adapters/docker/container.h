#pragma once
// Containers as the Engine API writes them: what one is to be made of, and what is told of it.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"

namespace mayfly::docker {

using Labels = std::map<std::string, std::string>;

struct BindMount {
  std::string source;          // on the engine's machine
  std::string target;
  bool read_only = false;
};

struct HealthCheck {
  std::string command;         // of a shell in the container
  Duration interval{};
  Duration timeout{};
};

/// Every container of ours: no capabilities, no new privileges, the engine's own seccomp profile, no swap, no restart.
struct ContainerSpec {
  std::string name;
  std::string image;
  Labels labels = {};
  std::string user = {};                        // "uid:gid"; empty: the image's
  std::vector<std::string> entrypoint = {};     // empty: the image's own, and its command
  std::vector<std::string> env = {};            // "NAME=value"
  std::string working_directory = {};
  std::string hostname = {};
  std::string runtime = {};                     // empty: the engine's default
  std::string network = "none";                 // a network's name, "none" or "container:NAME"
  std::vector<std::string> extra_hosts = {};    // "name:address"
  std::vector<BindMount> mounts = {};
  std::vector<std::string> tmpfs = {};          // where
  std::int64_t memory_bytes = 0;                // 0: no limit; so for the others
  std::int64_t cpu_milli = 0;
  std::int64_t pids = 0;
  std::int64_t processes_of_user = 0;           // RLIMIT_NPROC
  std::int64_t disk_bytes = 0;                  // of what is written over the image; only where the storage driver can
  bool read_only_root = true;
  bool standard_input = false;                  // open until who attached hangs up
  std::int64_t keep_log_bytes = 0;              // for tail(); 0: none
  std::optional<HealthCheck> health = {};
  std::vector<std::string> capabilities = {};   // kept all the same
};

std::string to_json(const ContainerSpec& spec);

struct Container {
  std::string id;
  bool running = false;
  int pid = 0;                                  // on the engine's machine, while it runs
  int exit_code = 0;
  bool out_of_memory = false;
  std::string error;                            // the engine's, when it could not start
  std::string health;                           // "starting", "healthy", "unhealthy"; empty: no check
  std::string health_said;                      // by the last check
  Labels labels;
};

/// Errc::corrupt: not what an engine says.
Result<Container> container_from_json(std::string_view text);

struct ListedContainer {
  std::string id;
  bool running = false;
  Labels labels;
};

Result<std::vector<ListedContainer>> containers_from_json(std::string_view text);

}  // namespace mayfly::docker
