#include "runner/sandbox/launcher.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cerrno>
#include <csignal>
#include <optional>

#include "async/offload.h"
#include "async/scope.h"
#include "base/log.h"
#include "runner/sandbox/preparation.h"
#include "runner/sandbox/services.h"
#include "runner/sandbox/uplink.h"

namespace mayfly {
namespace {

namespace asio = boost::asio;

constexpr std::size_t max_detail_bytes = 2048;
constexpr std::chrono::milliseconds disk_look_interval(200);

/// Remembers that a disk was full, also when the job makes room again before it ends.
class DiskWatch final {
 public:
  DiskWatch(const Loop& loop, const AttemptDisk& disk) : state_(std::make_shared<State>(loop, disk)) {
    if (disk.limited()) look_later(state_);
  }
  ~DiskWatch() { state_->timer.cancel(); }
  bool was_full() const { return state_->full = state_->full || state_->disk.full(); }

 private:
  struct State {
    State(const Loop& loop, const AttemptDisk& d) : timer(loop), disk(d) {}
    asio::steady_timer timer;
    const AttemptDisk& disk;
    bool full = false;
  };

  static void look_later(const std::shared_ptr<State>& state) {
    state->timer.expires_after(disk_look_interval);
    state->timer.async_wait([weak = std::weak_ptr(state)](boost::system::error_code ec) {
      auto still_there = weak.lock();
      if (ec || !still_there) return;
      still_there->full = still_there->full || still_there->disk.full();
      look_later(still_there);
    });
  }

  std::shared_ptr<State> state_;
};

class LinuxSandbox final : public Sandbox {
 public:
  LinuxSandbox(Loop loop, SandboxParts parts, SpawnedJob job)
      : parts_(std::move(parts)), job_(std::move(job)), loop_(std::move(loop)), disk_watch_(loop_, *parts_.disk),
        ended_(loop_, fcntl(job_.pidfd.get(), F_DUPFD_CLOEXEC, 3)), paths_{parts_.root.workspace, job_workspace, parts_.owner.uid, parts_.owner.gid} {
    parts_.output_writer.reset();
    parts_.seccomp.reset();
  }

  ~LinuxSandbox() override {
    kill();
    services_.reset();
    reap(0);
    if (!parts_.cgroup->remove()) log_error("a job's cgroup could not be removed: something in it does not die", {{"disk", parts_.disk->path()}});
  }

  Result<void> connect() {
    TRY_ASSIGN(auto uplink, Uplink::start(job_.pid));
    uplink_.emplace(std::move(uplink));
    return {};
  }

  void add_services(SandboxSpec spec, Defences defences) { services_.emplace(loop_, std::move(spec), defences, parts_, job_.pid); }

  Task<std::optional<ServiceFailure>> start_services() override {
    if (services_) co_return co_await services_->start();
    co_return std::nullopt;
  }
  Task<std::optional<ServiceFailure>> service_ended() override {
    if (services_) co_return co_await services_->ended();
    co_return std::nullopt;
  }

  const SandboxPaths& paths() const override { return paths_; }

  Task<Result<void>> network_ready() override {
    if (!uplink_) co_return Result<void>{};
    asio::posix::stream_descriptor ready(loop_, fcntl(uplink_->ready_fd(), F_DUPFD_CLOEXEC, 3));
    boost::system::error_code ignored;
    co_await ready.async_wait(asio::posix::stream_descriptor::wait_read, asio::redirect_error(asio::use_awaitable, ignored));
    co_await throw_if_canceled();
    co_return uplink_->outcome();
  }

  Task<Result<SandboxExit>> wait() override {
    while (!reap(WNOHANG)) {
      boost::system::error_code ignored;
      co_await ended_.async_wait(asio::posix::stream_descriptor::wait_read, asio::redirect_error(asio::use_awaitable, ignored));
      co_await throw_if_canceled();
    }
    if (services_) services_->kill();
    if (auto failure = read_failure(parts_.process, job_.failure.get())) co_return std::unexpected(*failure);
    co_return SandboxExit{*exit_code_, read_detail()};
  }

  void kill() override {
    if (exit_code_) return;
    parts_.cgroup->kill();
    ::kill(job_.pid, SIGKILL);
  }

  bool out_of_memory() const override { return parts_.cgroup->out_of_memory(); }
  bool disk_full() const override { return disk_watch_.was_full(); }

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

  SandboxParts parts_;
  SpawnedJob job_;
  std::optional<Uplink> uplink_;
  std::optional<Services> services_;
  Loop loop_;
  DiskWatch disk_watch_;
  asio::posix::stream_descriptor ended_;
  SandboxPaths paths_;
  std::optional<int> exit_code_;
  std::string detail_;
};

}  // namespace

Task<Result<std::unique_ptr<Sandbox>>> launch_sandbox_with(Loop loop, SandboxSpec spec, Defences defences) {
  auto worker = make_thread_offload(1);
  // What is said on the worker is heard on the loop, before what the worker did is known there.
  if (spec.say) spec.say = [loop, say = std::move(spec.say)](std::string line) { asio::post(loop, [say, line = std::move(line)] { say(line); }); };
  auto parts = co_await offload(*worker, [&spec, &defences] { return prepare_sandbox(spec, defences); });
  if (!parts) co_return std::unexpected(parts.error());
  // Here and not on the worker: the job dies with the thread that starts it.
  auto job = spawn_job(parts->process);
  if (!job) co_return std::unexpected(job.error());
  auto sandbox = std::make_unique<LinuxSandbox>(std::move(loop), std::move(*parts), std::move(*job));
  if (!spec.services.empty()) sandbox->add_services(spec, defences);
  if (spec.network && defences.network_namespace) CO_TRY(sandbox->connect());
  co_return sandbox;
}

Task<Result<std::unique_ptr<Sandbox>>> launch_sandbox(Loop loop, SandboxSpec spec) { return launch_sandbox_with(std::move(loop), std::move(spec), {}); }

}  // namespace mayfly
