#include "runner/sandbox/launcher.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <optional>

#include "async/offload.h"
#include "async/scope.h"
#include "base/log.h"
#include "adapters/sandbox/cgroup.h"
#include "runner/sandbox/disk.h"
#include "runner/sandbox/init_file.h"
#include "runner/sandbox/job_process.h"
#include "runner/sandbox/process.h"
#include "runner/sandbox/root.h"
#include "runner/sandbox/seccomp.h"
#include "runner/sandbox/uids.h"

namespace mayfly {
namespace {

namespace asio = boost::asio;

// Where the composed root is bound for bubblewrap to find: its own path goes through directories only root may enter.
constexpr const char* meeting_point = "/tmp";
constexpr std::size_t max_detail_bytes = 2048;

/// Everything a sandbox holds on the machine, in the order it is made; given back in the opposite one.
struct Parts {
  std::optional<JobUid> uid;
  std::optional<AttemptDisk> disk;
  std::optional<JobCgroup> cgroup;
  UniqueFd seccomp;
  UniqueFd output_reader;
  UniqueFd output_writer;
  ComposedRoot root;
  JobProcess process;
  Identity owner;
};

std::string cache_directory(const SandboxSpec& spec) {
  if (!spec.cache_dir.empty()) return spec.cache_dir;
  return std::filesystem::path(spec.attempt_dir).parent_path().parent_path() / "sandbox";
}

/// What of Mayfly's own must not show even if the operator put it below /opt or /usr.
std::vector<std::string> hidden_paths(const SandboxSpec& spec) {
  auto runners = std::filesystem::path(spec.attempt_dir).parent_path(), data = runners.parent_path();
  return {spec.attempt_dir, runners, data, cache_directory(spec)};
}

std::vector<std::string> bubblewrap_arguments(const SandboxSpec& spec, const std::string& bwrap, int seccomp) {
  auto uid = std::to_string(uid_inside);
  std::vector<std::string> arguments = {
      bwrap, "--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup", "--new-session", "--die-with-parent", "--as-pid-1",
      "--uid", uid, "--gid", uid, "--hostname", job_user, "--cap-drop", "ALL", "--bind", meeting_point, "/", "--proc", "/proc", "--dev", "/dev",
      "--chdir", job_workspace, "--clearenv", "--setenv", "HOME", job_home, "--setenv", "USER", job_user, "--setenv", "LOGNAME", job_user,
      "--setenv", "PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "--seccomp", std::to_string(seccomp)};
  if (!spec.network) arguments.push_back("--unshare-net");
  for (auto& argument : {std::string("--"), std::string(job_init), std::string("--control-fd"), std::to_string(spec.control_fd), std::string("--log-fd"),
                         std::to_string(spec.log_fd), std::string("--workspace"), std::string(job_workspace)})
    arguments.push_back(argument);
  return arguments;
}

void say_what_does_not_hold(const SandboxSpec& spec, const Parts& parts) {
  for (auto& limit : parts.cgroup->missing())
    log_warn("this job's " + limit + " limit does not hold: no such cgroup controller is writable here", {{"attempt", spec.attempt.str()}});
  if (spec.disk_bytes > 0 && !parts.disk->limited())
    log_warn("this job's disk limit does not hold", {{"attempt", spec.attempt.str()}, {"why", parts.disk->why_unlimited()}});
}

Result<void> open_output(Parts& parts) {
  int ends[2];
  // Not blocking: a job that finds this pipe must not be able to stop anybody by filling it.
  if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return fail(Errc::unavailable, std::string("sandbox: no pipe: ") + std::strerror(errno));
  parts.output_reader = UniqueFd(ends[0]);
  parts.output_writer = UniqueFd(ends[1]);
  return {};
}

Result<void> choose_owner(const SandboxSpec& spec, bool privileged, Parts& parts) {
  parts.owner = {getuid(), getgid()};
  if (!privileged) return {};
  TRY_ASSIGN(parts.uid, JobUid::claim(spec.attempt));
  parts.owner = {parts.uid->value(), parts.uid->value()};
  return {};
}

void describe_process(const SandboxSpec& spec, bool privileged, const std::string& bwrap, Parts& parts) {
  auto& process = parts.process;
  process.unified_cgroup = parts.cgroup->unified_directory();
  process.cgroup_tasks = parts.cgroup->task_files();
  process.own_user_namespace = !privileged;
  process.mounts.push_back({"", "/", "", "", MS_REC | MS_SLAVE});
  for (auto& step : parts.root.mounts) process.mounts.push_back(step);
  process.mounts.push_back({parts.root.path, meeting_point, "", "", MS_BIND | MS_REC});
  if (privileged) process.become = parts.owner;
  process.arguments = bubblewrap_arguments(spec, bwrap, parts.seccomp.get());
  process.keep_open = {spec.control_fd, spec.log_fd, parts.seccomp.get()};
  process.output = parts.output_writer.get();
}

/// All that blocks and all that can be refused; what it made is given back if it fails.
Result<Parts> prepare(const SandboxSpec& spec) {
  Parts parts;
  auto bwrap = find_program("bwrap");
  if (bwrap.empty()) return fail(Errc::unsupported, "sandbox: bubblewrap is not installed", "apt-get install bubblewrap");
  bool privileged = geteuid() == 0;
  TRY(choose_owner(spec, privileged, parts));
  TRY_ASSIGN(auto init, exec_only_init(spec.init_path, cache_directory(spec)));
  TRY_ASSIGN(auto disk, AttemptDisk::create(spec.attempt_dir, cache_directory(spec), spec.disk_bytes));
  parts.disk.emplace(std::move(disk));
  TRY_ASSIGN(parts.root, compose_root({parts.disk->path(), "", init, "", hidden_paths(spec), parts.owner, privileged}));
  TRY_ASSIGN(parts.cgroup, JobCgroup::create(CgroupMounts::find(), spec.attempt, {spec.memory_bytes, spec.cpu_milli, spec.pids}));
  TRY_ASSIGN(parts.seccomp, make_seccomp_filter());
  TRY(open_output(parts));
  describe_process(spec, privileged, bwrap, parts);
  say_what_does_not_hold(spec, parts);
  return parts;
}

class LinuxSandbox final : public Sandbox {
 public:
  LinuxSandbox(Loop loop, Parts parts, SpawnedJob job)
      : parts_(std::move(parts)), job_(std::move(job)), ended_(std::move(loop), fcntl(job_.pidfd.get(), F_DUPFD_CLOEXEC, 3)),
        paths_{parts_.root.workspace, job_workspace, parts_.owner.uid, parts_.owner.gid} {
    parts_.output_writer.reset();
    parts_.seccomp.reset();
  }

  ~LinuxSandbox() override {
    kill();
    reap(0);
    if (!parts_.cgroup->remove()) log_error("a job's cgroup could not be removed: something in it does not die", {{"disk", parts_.disk->path()}});
  }

  const SandboxPaths& paths() const override { return paths_; }

  Task<Result<SandboxExit>> wait() override {
    while (!reap(WNOHANG)) {
      boost::system::error_code ignored;
      co_await ended_.async_wait(asio::posix::stream_descriptor::wait_read, asio::redirect_error(asio::use_awaitable, ignored));
      co_await throw_if_canceled();
    }
    if (auto failure = read_failure(parts_.process, job_.failure.get())) co_return std::unexpected(*failure);
    co_return SandboxExit{*exit_code_, read_detail()};
  }

  void kill() override {
    if (exit_code_) return;
    parts_.cgroup->kill();
    ::kill(job_.pid, SIGKILL);
  }

  bool out_of_memory() const override { return parts_.cgroup->out_of_memory(); }
  bool disk_full() const override { return parts_.disk->full(); }

 private:
  bool reap(int flags) {
    if (exit_code_) return true;
    int status = 0;
    pid_t reaped;
    while ((reaped = waitpid(job_.pid, &status, flags)) < 0 && errno == EINTR) {}
    if (reaped == 0) return false;
    exit_code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return true;
  }

  /// What bubblewrap or init said on their way out; kept, for wait() may be called again.
  std::string read_detail() {
    if (detail_.empty()) {
      detail_.resize(max_detail_bytes);
      auto n = read(parts_.output_reader.get(), detail_.data(), detail_.size());
      detail_.resize(n > 0 ? std::size_t(n) : 0);
      while (!detail_.empty() && detail_.back() == '\n') detail_.pop_back();
    }
    return detail_;
  }

  Parts parts_;
  SpawnedJob job_;
  asio::posix::stream_descriptor ended_;
  SandboxPaths paths_;
  std::optional<int> exit_code_;
  std::string detail_;
};

}  // namespace

Task<Result<std::unique_ptr<Sandbox>>> launch_sandbox(Loop loop, SandboxSpec spec) {
  auto worker = make_thread_offload(1);
  auto parts = co_await offload(*worker, [&spec] { return prepare(spec); });
  if (!parts) co_return std::unexpected(parts.error());
  // Here and not on the worker: the job dies with the thread that starts it.
  auto job = spawn_job(parts->process);
  if (!job) co_return std::unexpected(job.error());
  co_return std::make_unique<LinuxSandbox>(std::move(loop), std::move(*parts), std::move(*job));
}

}  // namespace mayfly
