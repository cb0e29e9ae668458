#include "runner/sandbox/gvisor.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/json.h"
#include "runner/sandbox/root.h"

namespace mayfly {
namespace {

constexpr const char* engine_directory = "engine";   // on the disk, outside of the root: where runsc finds what is its own
constexpr int first_fd_inside = 3;

std::unexpected<Error> failed(const std::string& what) { return fail(Errc::unavailable, "sandbox: cannot " + what + ": " + std::strerror(errno)); }

json::object mount(const char* destination, const char* type, const std::string& source, json::array options) {
  return {{"destination", destination}, {"type", type}, {"source", source}, {"options", std::move(options)}};
}

json::object limit(const char* type, std::int64_t most) { return {{"type", type}, {"soft", most}, {"hard", most}}; }

/// `fds`: what init's descriptors are on the host, in the order of their numbers inside.
json::object process_of(const GvisorRequest& request, const Inside& inside, std::vector<int>& fds) {
  json::array arguments{json::string(job_init)};
  for (auto& word : inside.init) {
    if (word.fd >= 0) fds.push_back(word.fd);
    arguments.push_back(json::string(word.fd < 0 ? word.text : std::to_string(first_fd_inside + int(fds.size()) - 1)));
  }
  json::array env;
  for (auto& [name, value] : inside.env) env.push_back(json::string(name + "=" + value));
  json::array limits;
  if (request.pids > 0) limits.push_back(limit("RLIMIT_NPROC", request.pids));
  json::object none;
  for (auto set : {"bounding", "effective", "inheritable", "permitted", "ambient"}) none[set] = json::array();
  return {{"terminal", false},    {"user", json::object{{"uid", request.uid_inside}, {"gid", request.uid_inside}}},
          {"args", arguments},    {"env", std::move(env)},
          {"cwd", job_workspace}, {"noNewPrivileges", true},
          {"capabilities", none}, {"rlimits", std::move(limits)}};
}

/// An OCI runtime's configuration; root and workspace as runsc sees them.
std::string configuration(const Inside& inside, json::object process, const std::string& root, const std::string& workspace) {
  // An empty /tmp would become a file system in memory, beyond the disk's limit.
  json::array mounts{mount("/proc", "proc", "proc", {"nosuid", "nodev", "noexec"}), mount("/dev", "tmpfs", "tmpfs", {"nosuid"}),
                     mount("/dev/shm", "tmpfs", "shm", {"nosuid", "nodev", "mode=1777"}),
                     mount("/tmp", "bind", root + "/tmp", {"rw", "bind", "nosuid", "nodev"}), mount(job_workspace, "bind", workspace, {"rw", "bind", "nosuid", "nodev"})};
  json::array namespaces;
  for (auto type : {"pid", "ipc", "uts", "mount"}) namespaces.push_back(json::object{{"type", type}});
  return json::serialize(json::object{{"ociVersion", "1.0.2"},
                                      {"process", std::move(process)},
                                      {"root", json::object{{"path", root}, {"readonly", false}}},
                                      {"hostname", inside.host_name},
                                      {"mounts", std::move(mounts)},
                                      {"linux", json::object{{"namespaces", std::move(namespaces)}}}});
}

Result<void> make_directory(const std::string& path, mode_t mode) {
  if (mkdir(path.c_str(), mode) == 0 && chmod(path.c_str(), mode) == 0) return {};
  return failed("make " + path);
}

Result<void> write_for_engine(const std::string& path, const std::string& text) {
  UniqueFd fd(open(path.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644));
  if (fd && fchmod(fd.get(), 0644) == 0 && write(fd.get(), text.data(), text.size()) == ssize_t(text.size())) return {};
  return failed("write " + path);
}

}  // namespace

CgroupLimits gvisor_limits(const SandboxSpec& spec) {
  auto sentries = std::int64_t(1 + spec.services.size());
  return {.memory_bytes = spec.memory_bytes > 0 ? spec.memory_bytes + sentries * gvisor_memory_bytes : 0, .cpu_milli = spec.cpu_milli,
          .pids = spec.pids > 0 ? spec.pids + sentries * gvisor_pids : 0};
}

Result<void> describe_gvisor(const GvisorRequest& request, const Inside& inside, JobProcess& process) {
  auto& ours = request.directory;
  auto shown = request.disk + "/" + engine_directory, theirs = request.meeting_point + "/" + engine_directory;
  auto seen = [&](const std::string& path) { return request.meeting_point + path.substr(request.disk.size()); };
  TRY(make_directory(ours, 0755));
  TRY(make_directory(shown, 0755));
  TRY(make_directory(ours + "/state", 0700));
  if (geteuid() == 0 && chown((ours + "/state").c_str(), request.engine.uid, request.engine.gid) != 0) return failed("give " + ours + " to runsc");
  std::vector<int> fds;
  auto started = process_of(request, inside, fds);
  TRY(write_for_engine(ours + "/config.json", configuration(inside, std::move(started), seen(request.root.path), seen(request.root.workspace))));
  TRY(write_for_engine(ours + "/runsc", ""));
  process.mounts.push_back({ours, shown, "", "", MS_BIND});
  process.mounts.push_back({request.runsc, shown + "/runsc", "", "", MS_BIND});
  process.mounts.push_back({request.disk, request.meeting_point, "", "", MS_BIND | MS_REC});
  process.arguments = {theirs + "/runsc", "--root=" + theirs + "/state", "--platform=systrap", inside.no_network ? "--network=none" : "--network=host",
                       "--ignore-cgroups", "--overlay2=none", "--host-settings=ignore", "--log=/dev/null", "run", "--bundle=" + theirs};
  for (std::size_t i = 0; i < fds.size(); ++i) process.arguments.push_back("--pass-fd=" + std::to_string(fds[i]) + ":" + std::to_string(first_fd_inside + int(i)));
  process.arguments.push_back("job");
  return {};
}

}  // namespace mayfly
