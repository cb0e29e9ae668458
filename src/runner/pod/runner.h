#pragma once
// mayfly-runner in a pod (domain/runner/pod.h): a container beside the job's instead of a process around it. It may be started
// again after a crash, in the same pod; what it must know then lies in its state directory:
//
//   handed-over   init has its descriptors: from here on the job cannot be run again
//   ended.json    the attempt is over, as far as this pod is concerned

#include <string>

#include "base/time.h"
#include "domain/runner/pod.h"

namespace mayfly {

inline constexpr Duration pod_grace = std::chrono::seconds(5);               // for steps, and again for `finally`, when the pod is told to go
inline constexpr Duration keeper_patience = std::chrono::seconds(10);        // for the pool's keeper to say why the job's container is gone
inline constexpr Duration farewell_limit = std::chrono::minutes(10);         // for the platform to end a runner that is done
inline constexpr std::size_t max_identity_bytes = 16 << 10;
inline constexpr std::size_t max_last_word_bytes = 4096;                     // the platform cuts longer ones

struct PodPlaces {
  std::string meeting = pod::meeting_directory;
  std::string state = pod::state_directory;
  std::string workspace = pod::workspace_directory;
  std::string last_word = pod::last_word_file;
};

/// `mayfly-runner --pod`, to its end; the exit code. `--meeting`, `--state`, `--workspace` and `--last-word` name other places.
int run_in_pod(int argc, char** argv);

}  // namespace mayfly
