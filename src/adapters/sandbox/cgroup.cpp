#include "adapters/sandbox/cgroup.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <sstream>
#include <string_view>
#include <thread>

#include "adapters/sandbox/tools.h"

namespace mayfly {
namespace {

constexpr std::int64_t cpu_period_us = 100'000;
constexpr std::size_t max_mounts_bytes = 16 << 20;

Result<void> write_text(const std::string& path, const std::string& text) {
  UniqueFd fd(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd || write(fd.get(), text.data(), text.size()) != ssize_t(text.size()))
    return fail(Errc::unavailable, "sandbox: cannot write '" + text + "' to " + path + ": " + std::strerror(errno));
  return {};
}

Result<void> make_directory(const std::string& path) {
  if (mkdir(path.c_str(), 0755) == 0 || errno == EEXIST) return {};
  return fail(Errc::unavailable, "sandbox: cannot make the cgroup " + path + ": " + std::strerror(errno));
}

std::string attempt_directory(const std::string& mount, AttemptId attempt) { return mount + "/mayfly/" + attempt.str(); }

bool has_word(std::string_view words, std::string_view word) {
  std::istringstream in{std::string(words)};
  for (std::string w; in >> w;)
    if (w == word) return true;
  return false;
}

/// "oom_kill 3" → 3.
std::int64_t counter(const std::string& path, std::string_view name) {
  std::istringstream in(read_whole(path));
  std::string key;
  for (std::int64_t value; in >> key >> value;)
    if (key == name) return value;
  return 0;
}

std::vector<pid_t> processes_in(const std::string& directory) {
  std::istringstream in(read_whole(directory + "/cgroup.procs"));
  std::vector<pid_t> pids;
  for (pid_t pid; in >> pid;) pids.push_back(pid);
  return pids;
}

bool kill_in(const std::string& directory) {
  if (write_text(directory + "/cgroup.kill", "1")) return true;
  for (pid_t pid : processes_in(directory)) ::kill(pid, SIGKILL);
  return false;
}

/// Also while the last processes are on their way out.
bool remove_directory(const std::string& path, Duration patience) {
  auto until = std::chrono::steady_clock::now() + patience;
  while (rmdir(path.c_str()) != 0) {
    if (errno == ENOENT) return true;
    if (errno != EBUSY || std::chrono::steady_clock::now() > until) return false;
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  }
  return true;
}

}  // namespace

CgroupMounts CgroupMounts::find() {
  CgroupMounts found;
  std::istringstream in(read_whole("/proc/self/mounts", max_mounts_bytes));
  std::string device, where, type, options, rest;
  while (in >> device >> where >> type >> options && std::getline(in, rest)) {
    if (type != "cgroup" && type != "cgroup2") continue;
    if (access(where.c_str(), W_OK) != 0) continue;
    auto with_commas = "," + options + ",";
    auto has = [&](const char* controller) { return with_commas.find("," + std::string(controller) + ",") != std::string::npos; };
    if (type == "cgroup2") found.unified = where;
    if (type == "cgroup" && has("memory")) found.memory = where;
    if (type == "cgroup" && has("cpu")) found.cpu = where;
    if (type == "cgroup" && has("pids")) found.pids = where;
  }
  if (!found.unified.empty()) {
    auto controllers = read_whole(found.unified + "/cgroup.controllers");
    found.unified_limits = has_word(controllers, "memory") && has_word(controllers, "cpu") && has_word(controllers, "pids");
  }
  return found;
}

Result<std::string> JobCgroup::add(const std::string& mount) {
  auto attempt = attempt_directory(mount, attempt_), job = attempt + "/job";
  TRY(make_directory(mount + "/mayfly"));
  TRY(make_directory(attempt));
  TRY(make_directory(job));
  directories_.push_back(job);
  return job;
}

Result<void> JobCgroup::limit_by_version_1(const CgroupMounts& mounts, const CgroupLimits& limits) {
  auto enter = [&](const std::string& job) -> Result<void> {
    tasks_.emplace_back(open((job + "/tasks").c_str(), O_WRONLY | O_CLOEXEC));
    if (!tasks_.back()) return fail(Errc::unavailable, "sandbox: cannot open " + job + "/tasks: " + std::strerror(errno));
    return {};
  };
  if (mounts.memory.empty()) {
    if (limits.memory_bytes) missing_.push_back("memory");
  } else {
    TRY_ASSIGN(memory_directory_, add(mounts.memory));
    if (limits.memory_bytes) {
      TRY(write_text(memory_directory_ + "/memory.limit_in_bytes", std::to_string(limits.memory_bytes)));
      auto with_swap = memory_directory_ + "/memory.memsw.limit_in_bytes";
      if (access(with_swap.c_str(), F_OK) == 0) TRY(write_text(with_swap, std::to_string(limits.memory_bytes)));
    }
    TRY(enter(memory_directory_));
  }
  if (limits.cpu_milli && mounts.cpu.empty()) missing_.push_back("cpu");
  if (limits.cpu_milli && !mounts.cpu.empty()) {
    TRY_ASSIGN(auto job, add(mounts.cpu));
    TRY(write_text(job + "/cpu.cfs_period_us", std::to_string(cpu_period_us)));
    TRY(write_text(job + "/cpu.cfs_quota_us", std::to_string(limits.cpu_milli * cpu_period_us / 1000)));
    TRY(enter(job));
  }
  if (limits.pids && mounts.pids.empty()) missing_.push_back("pids");
  if (limits.pids && !mounts.pids.empty()) {
    TRY_ASSIGN(auto job, add(mounts.pids));
    TRY(write_text(job + "/pids.max", std::to_string(limits.pids)));
    TRY(enter(job));
  }
  return {};
}

Result<void> JobCgroup::limit_by_unified(const CgroupMounts& mounts, const CgroupLimits& limits) {
  for (auto& directory : {mounts.unified, mounts.unified + "/mayfly", attempt_directory(mounts.unified, attempt_)}) {
    auto handed_down = write_text(directory + "/cgroup.subtree_control", "+memory +cpu +pids");
    // As in a container whose processes sit in the root of what it sees: no limit holds, and that is said.
    if (!handed_down) {
      miss_all(limits);
      return {};
    }
  }
  auto& job = memory_directory_ = unified_directory_;
  if (limits.memory_bytes) {
    TRY(write_text(job + "/memory.max", std::to_string(limits.memory_bytes)));
    if (access((job + "/memory.swap.max").c_str(), F_OK) == 0) TRY(write_text(job + "/memory.swap.max", "0"));
  }
  if (limits.cpu_milli)
    TRY(write_text(job + "/cpu.max", std::to_string(limits.cpu_milli * cpu_period_us / 1000) + " " + std::to_string(cpu_period_us)));
  if (limits.pids) TRY(write_text(job + "/pids.max", std::to_string(limits.pids)));
  return {};
}

void JobCgroup::miss_all(const CgroupLimits& limits) {
  if (limits.memory_bytes) missing_.push_back("memory");
  if (limits.cpu_milli) missing_.push_back("cpu");
  if (limits.pids) missing_.push_back("pids");
}

Result<JobCgroup> JobCgroup::create(const CgroupMounts& mounts, AttemptId attempt, const CgroupLimits& limits) {
  JobCgroup group;
  group.attempt_ = attempt;
  if (!mounts.unified.empty()) {
    TRY_ASSIGN(group.unified_directory_, group.add(mounts.unified));
    group.unified_ = UniqueFd(open(group.unified_directory_.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  }
  TRY(mounts.unified_limits ? group.limit_by_unified(mounts, limits) : group.limit_by_version_1(mounts, limits));
  return group;
}

JobCgroup::~JobCgroup() {
  for (auto& directory : directories_) {
    rmdir(directory.c_str());
    rmdir(directory.substr(0, directory.rfind('/')).c_str());
  }
}

std::vector<int> JobCgroup::task_files() const {
  std::vector<int> fds;
  for (auto& file : tasks_) fds.push_back(file.get());
  return fds;
}

bool JobCgroup::out_of_memory() const {
  if (memory_directory_.empty()) return false;
  return counter(memory_directory_ + "/memory.oom_control", "oom_kill") + counter(memory_directory_ + "/memory.events", "oom_kill") > 0;
}

bool JobCgroup::kill() const {
  if (!unified_directory_.empty()) return kill_in(unified_directory_);
  for (auto& directory : directories_) kill_in(directory);
  return false;
}

bool JobCgroup::remove(Duration patience) {
  bool all = true;
  for (auto& directory : directories_) {
    all &= remove_directory(directory, patience);
    rmdir(directory.substr(0, directory.rfind('/')).c_str());  // stays while the runner is inside
  }
  directories_.clear();
  return all;
}

namespace {

/// The first 48 bits of a UUIDv7 are milliseconds since 1970.
Time made_at(AttemptId attempt) {
  std::int64_t ms = 0;
  for (int i = 0; i < 6; ++i) ms = ms << 8 | attempt.value.bytes[std::size_t(i)];
  return Time{std::chrono::milliseconds(ms)};
}

std::vector<std::string> attempt_groups(const CgroupMounts& mounts, AttemptId attempt) {
  std::vector<std::string> groups;
  for (auto& mount : {mounts.unified, mounts.memory, mounts.cpu, mounts.pids}) {
    if (mount.empty()) continue;
    auto directory = attempt_directory(mount, attempt);
    for (auto& group : {directory + "/job", directory + "/runner", directory})
      if (access(group.c_str(), F_OK) == 0) groups.push_back(group);
  }
  return groups;
}

}  // namespace

void remove_abandoned_cgroups(const CgroupMounts& mounts, Time before) {
  for (auto& mount : {mounts.unified, mounts.memory, mounts.cpu, mounts.pids}) {
    std::error_code ec;
    if (mount.empty()) continue;
    for (std::filesystem::directory_iterator at(mount + "/mayfly", ec), end; !ec && at != end; at.increment(ec)) {
      auto attempt = AttemptId::parse(at->path().filename().string());
      if (!attempt || made_at(*attempt) >= before) continue;
      for (auto& group : {at->path() / "job", at->path() / "runner", at->path()}) rmdir(group.c_str());
    }
  }
}

UniqueFd make_runner_cgroup(const CgroupMounts& mounts, AttemptId attempt) {
  if (mounts.unified.empty()) return {};
  auto directory = attempt_directory(mounts.unified, attempt), runner = directory + "/runner";
  if (!make_directory(mounts.unified + "/mayfly") || !make_directory(directory) || !make_directory(runner)) return {};
  return UniqueFd(open(runner.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
}

void kill_attempt_cgroups(const CgroupMounts& mounts, AttemptId attempt) {
  for (auto& group : attempt_groups(mounts, attempt)) kill_in(group);
}

bool remove_attempt_cgroups(const CgroupMounts& mounts, AttemptId attempt, Duration patience) {
  bool all = true;
  for (auto& group : attempt_groups(mounts, attempt)) {
    kill_in(group);
    all &= remove_directory(group, patience);
  }
  return all;
}

}  // namespace mayfly
