#pragma once
// A job as a container: what it is made of and what it may see. Pure, so that a test can read all of it.

#include <string>

#include "adapters/docker/container.h"
#include "adapters/docker/image_name.h"
#include "adapters/host_runners/runner_files.h"
#include "runner/sandbox/launcher.h"

namespace mayfly {

inline constexpr const char* container_init = "/run/mayfly/init";
inline constexpr std::int64_t gvisor_own_pids = 2000;   // threads of the sandbox itself, which the engine's limit counts

/// What the attempt has on this machine for its containers. Directories are the job's own, files are not.
struct ContainerFiles {
  std::string workspace, home, tmp, var_tmp;
  std::string passwd, group;
  std::string resolv_conf;        // empty: the engine's
  std::string init;
};

struct ContainerSeat {
  ContainerFiles files;
  uid_t uid = 0;
  gid_t gid = 0;
  std::string image;
  std::string network = "none";   // to the engine
};

std::string container_name(AttemptId attempt);
std::string service_name(AttemptId attempt, const std::string& service);
docker::Labels container_labels(const DockerPlace& place, AttemptId attempt, Fence fence);

/// Errc::unsupported: Docker cannot run such an image.
Result<docker::ImageName> image_of(const std::string& wanted, const DockerPlace& place);

docker::ContainerSpec job_container(const SandboxSpec& spec, const DockerPlace& place, const ContainerSeat& seat);
/// In the network of the job's container; with a file system of its image that it may write to as far as its user may.
docker::ContainerSpec service_container(const SandboxSpec& spec, const DockerPlace& place, const ContainerSeat& seat, const ServiceSpec& service);

}  // namespace mayfly
