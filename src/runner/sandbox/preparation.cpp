#include "runner/sandbox/preparation.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "base/log.h"
#include "runner/sandbox/firewall.h"
#include "runner/sandbox/gvisor.h"
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

std::vector<std::string> bubblewrap_arguments(const Inside& inside, const Defences& defences, const std::string& bwrap, int seccomp) {
  auto uid = std::to_string(job_uid_inside);
  std::vector<std::string> arguments = {bwrap, "--unshare-user", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup", "--new-session", "--die-with-parent",
                                        "--uid", uid, "--gid", uid, "--hostname", inside.host_name, "--bind", meeting_point, "/", "--dev", "/dev"};
  append(arguments, {"--clearenv", "--chdir", job_workspace});
  for (auto& [name, value] : inside.env) append(arguments, {"--setenv", name, value});
  if (defences.process_namespace)
    append(arguments, {"--unshare-pid", "--as-pid-1", "--proc", "/proc"});
  else
    append(arguments, {"--bind", "/proc", "/proc"});
  if (inside.no_network) append(arguments, {"--unshare-net"});
  if (!defences.allow_list) append(arguments, {"--bind", "/", "/host"});
  append(arguments, {defences.no_capabilities ? "--cap-drop" : "--cap-add", "ALL"});
  if (defences.seccomp) append(arguments, {"--seccomp", std::to_string(seccomp)});
  append(arguments, {"--", job_init});
  for (auto& word : inside.init) arguments.push_back(word.fd < 0 ? word.text : std::to_string(word.fd));
  return arguments;
}

/// Services share the job's network, so it must be one that can be joined.
bool has_own_network(const SandboxSpec& spec, const Defences& defences) { return defences.network_namespace && (spec.network || !spec.services.empty()); }

std::vector<std::string> service_names(const SandboxSpec& spec) {
  std::vector<std::string> names;
  for (auto& service : spec.services) names.push_back(service.name);
  return names;
}

/// What everything is started with; an image's own comes over it.
Env job_env(const std::vector<std::string>& of_image) {
  Env env{{"HOME", job_home}, {"USER", job_user}, {"LOGNAME", job_user}, {"PATH", default_path}};
  for (auto& variable : of_image) env[variable.substr(0, variable.find('='))] = variable.substr(variable.find('=') + 1);
  return env;
}

/// The sentry reads what it executes; there init is undumpable because it says so itself.
Result<std::string> readable_init(const std::string& path) {
  if (access(path.c_str(), R_OK) == 0) return path;
  return fail(Errc::not_found, "sandbox: no mayfly-init at " + path, "it is installed beside mayfly-runner");
}

/// The program that puts the walls around a job and its services.
struct Engine {
  Isolation isolation = Isolation::sandbox;
  std::string program;
  bool gvisor() const { return isolation == Isolation::gvisor; }
};

Result<Engine> choose_engine(const SandboxSpec& spec) {
  auto isolation = isolation_from(spec.isolation);
  if (isolation != Isolation::sandbox && isolation != Isolation::gvisor)
    return fail(Errc::unsupported, "sandbox: there is no isolation '" + spec.isolation + "' on this kind of pool", "sandbox or gvisor");
  Engine engine{*isolation, find_program(isolation == Isolation::sandbox ? "bwrap" : spec.runsc.empty() ? "runsc" : spec.runsc)};
  if (!engine.program.empty()) return engine;
  if (engine.gvisor()) return fail(Errc::unsupported, "sandbox: gVisor's runsc is not installed", "install it, or set the pool's `runsc`");
  return fail(Errc::unsupported, "sandbox: bubblewrap is not installed", "apt-get install bubblewrap");
}

/// Without root there is but one uid to map, and runsc must be the root of its namespace.
uid_t uid_inside(const Engine& engine) { return engine.gvisor() && geteuid() != 0 ? 0 : job_uid_inside; }

Result<std::string> shown_init(const SandboxSpec& spec, const Engine& engine, const Defences& defences) {
  return defences.undumpable_init && !engine.gvisor() ? exec_only_init(spec.init_path, cache_directory(spec)) : readable_init(spec.init_path);
}

/// The part of a process that is bubblewrap's or runsc's. `parts`: of a job or of a service.
template <class Parts>
Result<void> describe_engine(const SandboxSpec& spec, const Inside& inside, const std::string& disk, const std::string& directory, const Defences& defences, const Engine& engine, Parts& parts) {
  auto& process = parts.process;
  process.output = parts.output_writer.get();
  for (auto& word : inside.init)
    if (word.fd >= 0) process.keep_open.push_back(word.fd);
  if (!engine.gvisor()) {
    process.mounts.push_back({parts.root.path, meeting_point, "", "", MS_BIND | MS_REC});
    if (parts.uid) process.become = Identity{parts.uid->value(), parts.uid->value()};
    process.keep_open.push_back(parts.seccomp.get());
    process.arguments = bubblewrap_arguments(inside, defences, engine.program, parts.seccomp.get());
    return {};
  }
  Identity ours{getuid(), getgid()};
  if (parts.uid) {
    TRY_ASSIGN(parts.engine_uid, JobUid::claim(spec.attempt));
    ours = {parts.engine_uid->value(), parts.engine_uid->value()};
    process.users = {{0, ours.uid}, {job_uid_inside, parts.uid->value()}};
  }
  return describe_gvisor({.runsc = engine.program, .directory = directory, .disk = disk, .root = parts.root, .engine = ours, .uid_inside = uid_inside(engine), .pids = spec.pids, .meeting_point = meeting_point}, inside, process);
}

Result<Image> get_image(const SandboxSpec& spec, const std::string& name) {
  TRY_ASSIGN(auto image, resolve_image(name, spec.image_directories));
  ImageStore store(cache_directory(spec), {.limit_bytes = spec.registries.store_bytes, .stop = spec.stop});
  return open_image(image, store, spec.registries, spec.say);
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

Result<void> describe_process(const SandboxSpec& spec, const Defences& defences, const Engine& engine, SandboxParts& parts) {
  auto& process = parts.process;
  process.unified_cgroup = parts.cgroup->unified_directory();
  process.cgroup_tasks = parts.cgroup->task_files();
  process.own_user_namespace = geteuid() != 0;
  process.mounts.push_back({"", "/", "", "", MS_REC | MS_SLAVE});
  for (auto& step : parts.root.mounts) process.mounts.push_back(step);
  Inside inside{.host_name = job_user, .no_network = defences.network_namespace && !process.own_network, .env = job_env(parts.image.config.env)};
  inside.init = {{"--control-fd"}, {"", spec.control_fd}, {"--log-fd"}, {"", spec.log_fd}, {"--workspace"}, {job_workspace}};
  return describe_engine(spec, inside, parts.disk->path(), spec.attempt_dir + "/engine", defences, engine, parts);
}

}  // namespace

Result<SandboxParts> prepare_sandbox(const SandboxSpec& spec, const Defences& defences) {
  SandboxParts parts;
  TRY_ASSIGN(auto engine, choose_engine(spec));
  TRY_ASSIGN(parts.image, get_image(spec, spec.image));
  TRY(choose_owner(spec, defences, parts));
  TRY(describe_network(spec, defences, parts.process));
  TRY_ASSIGN(auto init, shown_init(spec, engine, defences));
  TRY_ASSIGN(auto disk, AttemptDisk::create(spec.attempt_dir, cache_directory(spec), spec.disk_bytes));
  parts.disk.emplace(std::move(disk));
  TRY_ASSIGN(parts.root, compose_root({.disk = parts.disk->path(), .image_root = parts.image.root, .init = init, .resolv_conf = resolver_file(spec),
                                         .hidden = hidden_paths(spec), .owner = parts.owner, .uid_inside = uid_inside(engine), .beside = service_names(spec), .writable = parts.image.config.writable, .privileged = geteuid() == 0}));
  TRY_ASSIGN(parts.cgroup, JobCgroup::create(CgroupMounts::find(), spec.attempt,
                                               engine.gvisor() ? gvisor_limits(spec) : CgroupLimits{spec.memory_bytes, spec.cpu_milli, spec.pids}));
  TRY_ASSIGN(parts.seccomp, make_seccomp_filter(spec.user_namespaces));
  TRY(open_output(parts));
  TRY(describe_process(spec, defences, engine, parts));
  say_what_does_not_hold(spec, parts);
  return parts;
}

namespace {

Result<void> describe_service(const SandboxSpec& spec, const ServiceSpec& service, const std::string& disk, const Defences& defences, const Engine& engine,
                              const SandboxParts& job, ServiceParts& parts) {
  auto& process = parts.process;
  process.unified_cgroup = job.cgroup->unified_directory();
  process.cgroup_tasks = job.cgroup->task_files();
  process.mounts.push_back({"", "/", "", "", MS_REC | MS_SLAVE});
  for (auto& step : parts.root.mounts) process.mounts.push_back(step);
  Inside inside{.host_name = service.name, .env = job_env({}), .init = {{"--service-fd"}, {"", parts.control.get()}}};
  return describe_engine(spec, inside, disk, spec.attempt_dir + "/engine-" + service.name, defences, engine, parts);
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
  TRY_ASSIGN(auto engine, choose_engine(spec));
  TRY_ASSIGN(auto init, shown_init(spec, engine, {}));
  auto disk = job.disk->path() + "/services/" + service.name;
  std::error_code ec;
  std::filesystem::create_directories(disk, ec);
  if (ec) return fail(Errc::unavailable, "sandbox: cannot make " + disk + ": " + ec.message());
  auto& config = parts.image.config;
  TRY_ASSIGN(parts.root, compose_root({.disk = disk, .image_root = parts.image.root, .init = init, .resolv_conf = resolver_file(spec), .hidden = hidden_paths(spec), .owner = owner,
                                       .uid_inside = uid_inside(engine), .host_name = service.name, .beside = service_names(spec), .writable = config.writable, .privileged = geteuid() == 0}));
  TRY_ASSIGN(parts.seccomp, make_seccomp_filter());
  TRY(open_output(parts));
  TRY(describe_service(spec, service, disk, defences, engine, job, parts));
  parts.command = config.command;
  if (!service.run.empty()) parts.command = {"/bin/sh", "-c", service.run};
  if (parts.command.empty()) return fail(Errc::invalid, "the image " + service.image + " names no command", "add run: COMMAND to the service");
  parts.env = service_env(service, config);
  parts.directory = config.directory;
  return parts;
}

}  // namespace mayfly
