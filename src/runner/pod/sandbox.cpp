#include "runner/pod/sandbox.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

namespace mayfly {
namespace {

bool is_ours(const std::string& directory) {
  struct stat info;
  return ::stat(directory.c_str(), &info) == 0 && info.st_uid == ::geteuid();
}

}  // namespace

PodSandbox::PodSandbox(PodDoor& door, Clock& clock, const SandboxSpec& spec, std::string workspace, std::function<Result<void>()> before)
    : door_(door), clock_(clock), paths_{workspace, workspace, ::geteuid(), ::getegid(), is_ours(workspace)} {
  auto copy = [](int fd) { return UniqueFd(::fcntl(fd, F_DUPFD_CLOEXEC, 3)); };
  door_.offer(copy(spec.control_fd), copy(spec.log_fd), std::move(before));
}

PodSandbox::~PodSandbox() { door_.hang_up(); }

Task<Result<void>> PodSandbox::network_ready() {
  auto until = clock_.now() + init_arrival_limit;
  while (door_.state() == PodDoor::State::empty)
    if (!co_await door_.changed().wait(clock_, until))
      co_return fail(Errc::unavailable, "the job's container did not start within " + format_duration(init_arrival_limit));
  if (door_.state() == PodDoor::State::gone) co_return fail(Errc::unavailable, "the job's container ended before it had a job");
  co_return Result<void>{};
}

Task<Result<SandboxExit>> PodSandbox::wait() {
  using State = PodDoor::State;
  while (door_.state() == State::empty || door_.state() == State::in) {
    auto until = killed_ ? *killed_ + pod_kill_patience : Time::max();
    // A kill is a word to init; of one that is stuck nothing more is to be expected.
    if (clock_.now() >= until) co_return SandboxExit{137, "the job's container does not end"};
    co_await door_.changed().wait(clock_, until);
  }
  if (door_.state() == State::finished) co_return SandboxExit{0, ""};
  co_return SandboxExit{137, "the job's container is gone"};
}

void PodSandbox::kill() {
  if (killed_ || door_.state() == PodDoor::State::gone) return;
  killed_ = clock_.now();
  door_.hang_up();
  door_.changed().notify();   // who waits learns of the limit
}

bool PodSandbox::disk_full() const {
  struct statvfs disk;
  return ::statvfs(paths_.workspace_host.c_str(), &disk) == 0 && disk.f_bavail == 0;
}

}  // namespace mayfly
