#include "runner/init/events.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <ctime>

#include "runner/init/processes.h"

namespace mayfly {
namespace {

constexpr std::size_t read_bytes = 64 << 10;

std::int64_t micros(clockid_t clock) {
  timespec t;
  ::clock_gettime(clock, &t);
  return t.tv_sec * 1'000'000LL + t.tv_nsec / 1000;
}

int open_signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGCHLD);
  sigaddset(&set, SIGTERM);
  ::sigprocmask(SIG_BLOCK, &set, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  return ::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int poll_timeout(Time until) {
  if (until == Time::max()) return -1;
  auto left = until - steady_now();
  if (left <= Duration::zero()) return 0;
  return static_cast<int>(std::min<std::int64_t>(60'000, left / std::chrono::milliseconds(1) + 1));
}

/// A file takes at once what it has room for; a pipe wants to be waited for.
int pipe_or_none(int fd) {
  struct stat st;
  return ::fstat(fd, &st) == 0 && (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode)) ? fd : -1;
}

/// From an engine or a kubelet, or from who started us: no process of the job's.
bool from_outside(const signalfd_siginfo& info) { return info.ssi_pid == 0 || info.ssi_pid == static_cast<std::uint32_t>(::getppid()); }

}  // namespace

Time steady_now() {
  static const std::int64_t offset = micros(CLOCK_REALTIME) - micros(CLOCK_MONOTONIC);
  return from_micros(offset + micros(CLOCK_MONOTONIC));
}

Events::Events(Channel channel) : channel_(channel), signals_(open_signals()), log_pipe_(pipe_or_none(channel.log)), buffer_(read_bytes) {
  if (log_pipe_ >= 0) ::fcntl(log_pipe_, F_SETFL, O_NONBLOCK);
  ::fcntl(channel_.in, F_SETFL, O_NONBLOCK);
  ::fcntl(channel_.out, F_SETFL, O_NONBLOCK);
}

Events::~Events() {
  ::close(signals_);
  for (auto& s : streams_) ::close(s.fd);
}

bool Events::wait(const std::function<bool()>& done, Time until) {
  while (!done()) {
    if (steady_now() >= until) return false;
    turn(until);
  }
  return true;
}

void Events::turn(Time until) {
  if (log_) until = std::min(until, log_->due());
  if (watched_) until = std::min(until, watched_->due());
  std::vector<pollfd> fds{{channel_.in, POLLIN, 0}, {channel_.out, short(outgoing_.empty() ? 0 : POLLOUT), 0}, {channel_.lifeline, POLLIN, 0}, {signals_, POLLIN, 0},
                          {log_pipe_, short(log_ && log_->backlog() > 0 ? POLLOUT : 0), 0}};
  const auto others = fds.size();
  if (!log_ || !log_->blocked())
    for (auto& s : streams_) fds.push_back({s.fd, POLLIN, 0});
  const auto watched = fds.size();
  if (watched_) watched_->add_to(fds);
  if (::poll(fds.data(), fds.size(), poll_timeout(until)) > 0) {
    // Output before the end of its process, and both before what the sidecar wants next.
    std::set<int> ended;
    for (std::size_t i = others; i < watched; ++i)
      if (fds[i].revents != 0 && !read_stream(streams_[i - others])) ended.insert(fds[i].fd);
    std::erase_if(streams_, [&](auto& s) { return ended.contains(s.fd); });
    if (watched_) watched_->on_poll(std::span(fds).subspan(watched));
    if (fds[3].revents != 0) on_signals();
    if (fds[1].revents & POLLOUT) write_control();
    if (fds[0].revents != 0) read_control();
    if (fds[1].revents & POLLERR || fds[2].revents != 0 || fds[4].revents & POLLERR) sidecar_gone();
  }
  if (watched_) watched_->tick();
  if (log_) log_->tick(steady_now());
}

bool Events::read_stream(Stream& s) {
  auto n = ::read(s.fd, buffer_.data(), buffer_.size());
  if (n > 0) {
    if (log_) log_->write(s.step, s.stream, {buffer_.data(), static_cast<std::size_t>(n)}, steady_now());
    return true;
  }
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return true;
  if (log_) log_->end_stream(s.step, s.stream, steady_now());
  ::close(s.fd);
  return false;
}

void Events::add_stream(int fd, std::uint16_t step, LogStream stream) { streams_.push_back({fd, step, stream}); }

bool Events::has_streams(std::optional<std::uint16_t> step) const {
  return std::ranges::any_of(streams_, [&](auto& s) { return !step || s.step == *step; });
}

std::optional<int> Events::take_exit(pid_t pid) {
  auto exit = exits_.extract(pid);
  if (exit.empty()) return std::nullopt;
  return exit.mapped();
}

void Events::on_signals() {
  signalfd_siginfo info;
  while (::read(signals_, &info, sizeof info) == sizeof info)
    if (info.ssi_signo == SIGTERM && from_outside(info) && !cancel) cancel = CancelJob{.grace = stop_grace, .outcome = Outcome::canceled, .finally_limit = stop_grace};
  reap();
}

void Events::reap() {
  int status;
  pid_t pid;
  while ((pid = ::waitpid(-1, &status, WNOHANG)) > 0)
    if (expected_.erase(pid)) exits_[pid] = status;
  childless_ = pid < 0 && errno == ECHILD;
}

void Events::read_control() {
  for (;;) {
    auto n = ::read(channel_.in, buffer_.data(), buffer_.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) sidecar_gone();
    incoming_.append(buffer_.data(), static_cast<std::size_t>(n));
    std::size_t at = 0;
    for (auto end = incoming_.find('\n'); end != incoming_.npos; end = incoming_.find('\n', at)) {
      on_message(std::string_view(incoming_).substr(at, end - at));
      at = end + 1;
    }
    incoming_.erase(0, at);
    if (incoming_.size() > max_control_line_bytes) sidecar_gone();
  }
}

void Events::on_message(std::string_view line) {
  auto message = to_init_from(line);
  if (!message) sidecar_gone();
  if (auto* j = std::get_if<InitJob>(&*message)) job = std::move(*j);
  else if (auto* c = std::get_if<CancelJob>(&*message)) cancel = *c;
  else if (auto* a = std::get_if<ConditionAnswer>(&*message)) answer = std::move(*a);
  else if (std::holds_alternative<ReleaseHold>(*message)) release = true;
  else if (watched_) watched_->take(*message);
}

void Events::send(const FromInit& message) {
  outgoing_ += to_line(message);
  write_control();
  if (outgoing_.size() > max_control_backlog_bytes) sidecar_gone();
}

void Events::write_control() {
  std::size_t at = 0;
  while (at < outgoing_.size()) {
    auto n = ::write(channel_.out, outgoing_.data() + at, outgoing_.size() - at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) break;
    if (n <= 0) sidecar_gone();
    at += static_cast<std::size_t>(n);
  }
  outgoing_.erase(0, at);
}

void Events::sidecar_gone() {
  kill_all();
  std::_Exit(job ? 1 : 3);
}

void Events::await_goodbye() {
  if (channel_.lifeline < 0) return;
  char byte = 0;
  while (::write(channel_.lifeline, &byte, 1) < 0 && errno == EINTR) {}
  pollfd p{channel_.lifeline, POLLIN, 0};
  while (::poll(&p, 1, -1) < 0 && errno == EINTR) {}
}

}  // namespace mayfly
