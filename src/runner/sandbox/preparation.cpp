#include "runner/sandbox/preparation.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "base/log.h"
#include "runner/sandbox/firewall.h"
#include "runner/sandbox/image.h"
#include "runner/sandbox/init_file.h"
#include "adapters/sandbox/tools.h"
#include "runner/sandbox/seccomp.h"

namespace mayfly {
namespace {

// Where the composed root is bound for bubblewrap to find: its own path goes through directories only root may enter.
constexpr const char* meeting_point = "/tmp";
constexpr const char* default_path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

std::string cache_directory(const SandboxSpec& spec) {
  if (!spec.cache_dir.empty()) return spec.cache_dir;
  return std::filesystem::path(spec.attempt_dir).parent_path().parent_path() / "sandbox";
}

/// What of Mayfly's own must not show even if the operator put it below /opt or /usr.
std::vector<std::string> hidden_paths(const SandboxSpec& spec) {
  auto runners = std::filesystem::path(spec.attempt_dir).parent_path(), data = runners.parent_path();
  return {data, runners, spec.attempt_dir, cache_directory(spec)};
}

void append(std::vector<std::string>& to, std::initializer_list<std::string> words) { to.insert(to.end(), words); }

/// What bubblewrap is to start, where jobs and services differ.
struct Inside {
  std::string host_name;
  bool no_network = false;               // a namespace of bubblewrap's own, with nobody in it
  std::vector<std::string> env = {};     // "KEY=value", the image's
  std::vector<std::string> init = {};    // arguments of mayfly-init
};

std::vector<std::string> bubblewrap_arguments(const Inside& inside, const Defences& defences, const std::string& bwrap, int seccomp) {
  auto uid = std::to_string(uid_inside);
  std::vector<std::string> arguments = {bwrap, "--unshare-user", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup", "--new-session", "--die-with-parent",
                                        "--uid", uid, "--gid", uid, "--hostname", inside.host_name, "--bind", meeting_point, "/", "--dev", "/dev"};
  append(arguments, {"--clearenv", "--setenv", "HOME", job_home, "--setenv", "USER", job_user, "--setenv", "LOGNAME", job_user, "--setenv", "PATH", default_path,
                     "--chdir", job_workspace});
  for (auto& variable : inside.env) append(arguments, {"--setenv", variable.substr(0, variable.find('=')), variable.substr(variable.find('=') + 1)});
  if (defences.process_namespace)
    append(arguments, {"--unshare-pid", "--as-pid-1", "--proc", "/proc"});
  else
    append(arguments, {"--bind", "/proc", "/proc"});
  if (inside.no_network) append(arguments, {"--unshare-net"});
  if (!defences.allow_list) append(arguments, {"--bind", "/", "/host"});
  append(arguments, {defences.no_capabilities ? "--cap-drop" : "--cap-add", "ALL"});
  if (defences.seccomp) append(arguments, {"--seccomp", std::to_string(seccomp)});
  append(arguments, {"--", job_init});
  arguments.insert(arguments.end(), inside.init.begin(), inside.init.end());
  return arguments;
}

/// Services share the job's network, so it must be one that can be joined.
bool has_own_network(const SandboxSpec& spec, const Defences& defences) { return defences.network_namespace && (spec.network || !spec.services.empty()); }

std::vector<std::string> service_names(const SandboxSpec& spec) {
  std::vector<std::string> names;
  for (auto& service : spec.services) names.push_back(service.name);
  return names;
}

Result<Image> get_image(const SandboxSpec& spec, const std::string& name) {
  TRY_ASSIGN(auto image, resolve_image(name, spec.image_directories));
  ImageStore store(cache_directory(spec), {.stop = spec.stop});
  return open_image(image, store);
}

void say_what_does_not_hold(const SandboxSpec& spec, const SandboxParts& parts) {
  for (auto& limit : parts.cgroup->missing())
    log_warn("this job's " + limit + " limit does not hold: no such cgroup controller is writable here", {{"attempt", spec.attempt.str()}});
  if (spec.disk_bytes > 0 && !parts.disk->limited())
    log_warn("this job's disk limit does not hold", {{"attempt", spec.attempt.str()}, {"why", parts.disk->why_unlimited()}});
}

template <class Parts>
Result<void> open_output(Parts& parts) {
  int ends[2];
  // Not blocking: a job that finds this pipe must not be able to stop anybody by filling it.
  if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return fail(Errc::unavailable, std::string("sandbox: no pipe: ") + std::strerror(errno));
  parts.output_reader = UniqueFd(ends[0]);
  parts.output_writer = UniqueFd(ends[1]);
  return {};
}

std::string resolver_file(const SandboxSpec& spec) {
  return spec.network ? std::string("nameserver ") + slirp_resolver + "\n" : "";
}

Result<void> describe_network(const SandboxSpec& spec, const Defences& defences, JobProcess& process) {
  if (!has_own_network(spec, defences)) return {};
  process.low_ports = !spec.services.empty();
  if (!spec.network) {
    process.own_network = true;
    process.network_setup = {raise_loopback()};
    return {};
  }
  std::vector<Prefix> allowed;
  for (auto& text : spec.allowed_networks) {
    TRY_ASSIGN(auto prefix, parse_prefix(text));
    allowed.push_back(prefix);
  }
  process.own_network = true;
  process.network_setup = {raise_loopback()};
  if (defences.firewall) process.network_setup.push_back(job_firewall(host_addresses(), allowed));
  return {};
}

Result<void> choose_owner(const SandboxSpec& spec, const Defences& defences, SandboxParts& parts) {
  parts.owner = {getuid(), getgid()};
  if (geteuid() != 0 || !defences.own_uid) return {};
  TRY_ASSIGN(parts.uid, JobUid::claim(spec.attempt));
  parts.owner = {parts.uid->value(), parts.uid->value()};
  return {};
}

void describe_process(const SandboxSpec& spec, const Defences& defences, const std::string& bwrap, SandboxParts& parts) {
  auto& process = parts.process;
  process.unified_cgroup = parts.cgroup->unified_directory();
  process.cgroup_tasks = parts.cgroup->task_files();
  process.own_user_namespace = geteuid() != 0;
  process.mounts.push_back({"", "/", "", "", MS_REC | MS_SLAVE});
  for (auto& step : parts.root.mounts) process.mounts.push_back(step);
  process.mounts.push_back({parts.root.path, meeting_point, "", "", MS_BIND | MS_REC});
  if (parts.uid) process.become = parts.owner;
  Inside inside{.host_name = job_user, .no_network = defences.network_namespace && !process.own_network, .env = parts.image.config.env};
  inside.init = {"--control-fd", std::to_string(spec.control_fd), "--log-fd", std::to_string(spec.log_fd), "--workspace", job_workspace};
  process.arguments = bubblewrap_arguments(inside, defences, bwrap, parts.seccomp.get());
  process.keep_open = {spec.control_fd, spec.log_fd, parts.seccomp.get()};
  process.output = parts.output_writer.get();
}

}  // namespace

Result<SandboxParts> prepare_sandbox(const SandboxSpec& spec, const Defences& defences) {
  SandboxParts parts;
  auto bwrap = find_program("bwrap");
  if (bwrap.empty()) return fail(Errc::unsupported, "sandbox: bubblewrap is not installed", "apt-get install bubblewrap");
  TRY_ASSIGN(parts.image, get_image(spec, spec.image));
  TRY(choose_owner(spec, defences, parts));
  TRY(describe_network(spec, defences, parts.process));
  TRY_ASSIGN(auto init, exec_only_init(spec.init_path, cache_directory(spec)));
  TRY_ASSIGN(auto disk, AttemptDisk::create(spec.attempt_dir, cache_directory(spec), spec.disk_bytes));
  parts.disk.emplace(std::move(disk));
  TRY_ASSIGN(parts.root, compose_root({.disk = parts.disk->path(), .image_root = parts.image.root, .init = defences.undumpable_init ? init : spec.init_path, .resolv_conf = resolver_file(spec),
                                         .hidden = hidden_paths(spec), .owner = parts.owner, .beside = service_names(spec), .writable = parts.image.config.writable, .privileged = geteuid() == 0}));
  TRY_ASSIGN(parts.cgroup, JobCgroup::create(CgroupMounts::find(), spec.attempt, {spec.memory_bytes, spec.cpu_milli, spec.pids}));
  TRY_ASSIGN(parts.seccomp, make_seccomp_filter());
  TRY(open_output(parts));
  describe_process(spec, defences, bwrap, parts);
  say_what_does_not_hold(spec, parts);
  return parts;
}

namespace {

void describe_service(const ServiceSpec& service, const Defences& defences, const std::string& bwrap, const SandboxParts& job, ServiceParts& parts) {
  auto& process = parts.process;
  process.unified_cgroup = job.cgroup->unified_directory();
  process.cgroup_tasks = job.cgroup->task_files();
  process.mounts.push_back({"", "/", "", "", MS_REC | MS_SLAVE});
  for (auto& step : parts.root.mounts) process.mounts.push_back(step);
  process.mounts.push_back({parts.root.path, meeting_point, "", "", MS_BIND | MS_REC});
  if (parts.uid) process.become = Identity{parts.uid->value(), parts.uid->value()};
  Inside inside{.host_name = service.name, .init = {"--service-fd", std::to_string(parts.control.get())}};
  process.arguments = bubblewrap_arguments(inside, defences, bwrap, parts.seccomp.get());
  process.keep_open = {parts.control.get(), parts.seccomp.get()};
  process.output = parts.output_writer.get();
}

/// What an engine would start it with: the image's environment, and over it the service's own.
Env service_env(const ServiceSpec& service, const ImageConfig& config) {
  Env env{{"PATH", default_path}, {"HOME", job_home}, {"USER", job_user}};
  for (auto& variable : config.env) env[variable.substr(0, variable.find('='))] = variable.substr(variable.find('=') + 1);
  for (auto& [name, value] : service.env) env[name] = value;
  return env;
}

}  // namespace

Result<ServiceParts> prepare_service(const SandboxSpec& spec, const ServiceSpec& service, const Defences& defences, const SandboxParts& job, UniqueFd control) {
  ServiceParts parts;
  parts.control = std::move(control);
  TRY_ASSIGN(parts.image, get_image(spec, service.image));
  Identity owner{getuid(), getgid()};
  if (job.uid) {
    TRY_ASSIGN(parts.uid, JobUid::claim(spec.attempt));
    owner = {parts.uid->value(), parts.uid->value()};
  }
  TRY_ASSIGN(auto init, exec_only_init(spec.init_path, cache_directory(spec)));
  auto disk = job.disk->path() + "/services/" + service.name;
  std::error_code ec;
  std::filesystem::create_directories(disk, ec);
  if (ec) return fail(Errc::unavailable, "sandbox: cannot make " + disk + ": " + ec.message());
  auto& config = parts.image.config;
  TRY_ASSIGN(parts.root, compose_root({.disk = disk, .image_root = parts.image.root, .init = init, .resolv_conf = resolver_file(spec), .hidden = hidden_paths(spec), .owner = owner,
                                       .host_name = service.name, .beside = service_names(spec), .writable = config.writable, .privileged = geteuid() == 0}));
  TRY_ASSIGN(parts.seccomp, make_seccomp_filter());
  TRY(open_output(parts));
  describe_service(service, defences, find_program("bwrap"), job, parts);
  parts.command = config.command;
  if (!service.run.empty()) parts.command = {"/bin/sh", "-c", service.run};
  if (parts.command.empty()) return fail(Errc::invalid, "the image " + service.image + " names no command", "add run: COMMAND to the service");
  parts.env = service_env(service, config);
  parts.directory = config.directory;
  return parts;
}

}  // namespace mayfly
