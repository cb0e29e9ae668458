#include "runner/docker/container_plan.h"

#include "runner/sandbox/root.h"

namespace mayfly {
namespace {

constexpr Duration readiness_interval = std::chrono::milliseconds(500);
constexpr Duration readiness_limit = std::chrono::seconds(30);       // of one check
constexpr std::int64_t service_log_bytes = 256 << 10;

bool under_gvisor(const SandboxSpec& spec) { return spec.isolation == "gvisor"; }

/// What the job's container and those of its services have alike.
docker::ContainerSpec common(const SandboxSpec& spec, const DockerPlace& place, const ContainerSeat& seat) {
  docker::ContainerSpec out;
  out.labels = container_labels(place, spec.attempt, spec.fence);
  out.user = std::to_string(seat.uid) + ":" + std::to_string(seat.gid);
  out.runtime = place.runtime;
  out.memory_bytes = spec.memory_bytes;
  out.cpu_milli = spec.cpu_milli;
  out.pids = spec.pids > 0 && under_gvisor(spec) ? spec.pids + gvisor_own_pids : spec.pids;
  out.processes_of_user = spec.pids;
  out.mounts = {{seat.files.passwd, "/etc/passwd", true}, {seat.files.group, "/etc/group", true}};
  if (!seat.files.resolv_conf.empty()) out.mounts.push_back({seat.files.resolv_conf, "/etc/resolv.conf", true});
  return out;
}

}  // namespace

std::string container_name(AttemptId attempt) { return "mayfly-" + attempt.str(); }

std::string service_name(AttemptId attempt, const std::string& service) { return container_name(attempt) + "-" + service; }

docker::Labels container_labels(const DockerPlace& place, AttemptId attempt, Fence fence) {
  return {{"mayfly.dev/managed", "true"}, {"mayfly.dev/pool", place.pool}, {"mayfly.dev/home", place.home}, {"mayfly.dev/attempt", attempt.str()}, {"mayfly.dev/fence", std::to_string(fence.value)}};
}

Result<docker::ImageName> image_of(const std::string& wanted, const DockerPlace& place) {
  bool none = wanted.empty() || wanted == "host";
  if (none && place.default_image.empty())
    return fail(Errc::unsupported, "this pool runs jobs in containers, and the job names no image", "write `image: debian:12` or the like; or the pool's operator names a default_image");
  auto& name = none ? place.default_image : wanted;
  if (name.starts_with('/') || name.starts_with("oci:"))
    return fail(Errc::unsupported, "this pool takes images from registries and from its Docker engine, not '" + name + "'", "push it to a registry, or run the job in a pool of sandboxes");
  auto parsed = docker::parse_image_name(name);
  if (!parsed) return fail(Errc::unsupported, parsed.error().message, parsed.error().hint);
  return parsed;
}

docker::ContainerSpec job_container(const SandboxSpec& spec, const DockerPlace& place, const ContainerSeat& seat) {
  auto out = common(spec, place, seat);
  out.name = container_name(spec.attempt);
  out.image = seat.image;
  out.hostname = job_user;
  out.network = seat.network;
  out.entrypoint = {container_init, "--control-stdio", "--log", "-", "--workspace", job_workspace};
  out.working_directory = job_workspace;
  out.env = {std::string("HOME=") + job_home, std::string("USER=") + job_user, std::string("LOGNAME=") + job_user};
  out.standard_input = true;
  for (auto& service : spec.services) out.extra_hosts.push_back(service.name + ":127.0.0.1");
  auto& files = seat.files;
  for (auto& mount : {docker::BindMount{files.init, container_init, true}, {files.workspace, job_workspace, false}, {files.home, job_home, false}, {files.tmp, "/tmp", false},
                      {files.var_tmp, "/var/tmp", false}})
    out.mounts.push_back(mount);
  return out;
}

docker::ContainerSpec service_container(const SandboxSpec& spec, const DockerPlace& place, const ContainerSeat& seat, const ServiceSpec& service) {
  auto out = common(spec, place, seat);
  out.name = service_name(spec.attempt, service.name);
  out.image = seat.image;
  out.network = "container:" + container_name(spec.attempt);
  out.read_only_root = false;
  out.keep_log_bytes = service_log_bytes;
  for (auto& [name, value] : service.env) out.env.push_back(name + "=" + value);
  if (!service.run.empty()) out.entrypoint = {"/bin/sh", "-c", service.run};
  if (!service.ready.empty()) out.health = docker::HealthCheck{service.ready, readiness_interval, readiness_limit};
  return out;
}

}  // namespace mayfly
