#include "runner/init/shell.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "runner/init/terminal.h"

namespace mayfly {
namespace {

constexpr char end_of_transmission = 4;   // what a terminal's driver takes for the end of input

int exit_code_of(int status) { return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status); }

void close_fd(int& fd) {
  if (fd >= 0) ::close(fd);
  fd = -1;
}

}  // namespace

JobShells::JobShells(Events& events, StepStarter& starter) : events_(events), starter_(starter) { events_.watch(this); }

JobShells::~JobShells() {
  events_.watch(nullptr);
  for (auto& shell : shells_) {
    if (!shell.tty) close_fd(shell.in);
    for (auto& output : shell.outputs) close_fd(output.fd);
  }
}

JobShells::Shell* JobShells::find(std::int64_t number) {
  auto at = std::ranges::find(shells_, number, &Shell::number);
  return at == shells_.end() ? nullptr : &*at;
}

void JobShells::allow(Setting setting) {
  setting_ = std::move(setting);
  for (auto& message : std::exchange(early_, {})) take(message);
}

void JobShells::take(ToInit& message) {
  if (!setting_ && ended_.empty()) {
    if (early_.size() < max_early_messages) early_.push_back(std::move(message));
    return;
  }
  if (auto* m = std::get_if<OpenShell>(&message)) {
    open(*m);
  } else if (auto* input = std::get_if<ShellInput>(&message)) {
    if (auto* shell = find(input->shell)) feed(*shell, *input);
  } else if (auto* resize = std::get_if<ShellResize>(&message)) {
    if (auto* shell = find(resize->shell); shell && shell->tty && shell->in >= 0) resize_terminal(shell->in, resize->size);
  } else if (auto* taken = std::get_if<ShellTaken>(&message)) {
    if (auto* shell = find(taken->shell)) {
      shell->acknowledged = std::clamp(taken->bytes, shell->acknowledged, shell->sent);
      send_masked(*shell);
    }
  } else if (auto* close = std::get_if<CloseShell>(&message)) {
    if (auto* shell = find(close->shell)) hang_up(*shell, "closed", shell_hangup_grace);
  }
}

void JobShells::refuse(std::int64_t number, std::string why) { events_.send(ShellEnded{.shell = number, .detail = std::move(why)}); }

void JobShells::open(const OpenShell& wanted) {
  if (!ended_.empty()) return refuse(wanted.shell, ended_);
  if (find(wanted.shell)) return refuse(wanted.shell, "there is such a shell already");
  if (shells_.size() >= max_shells_per_job) return refuse(wanted.shell, "the job has " + std::to_string(max_shells_per_job) + " shells already");
  auto command = setting_->command(wanted.wish);
  if (!command) return refuse(wanted.shell, command.error().message);
  Shell shell{.number = wanted.shell, .who = wanted.who, .tty = wanted.wish.tty, .opened = steady_now()};
  if (auto started = start(shell, *command, wanted.wish); !started) return refuse(wanted.shell, started.error().message);
  setting_->say("a shell was opened by '" + wanted.who + "'");
  shells_.push_back(std::move(shell));
}

Result<void> JobShells::start(Shell& shell, const StepCommand& command, const ShellWish& wish) {
  ChildStreams streams;
  std::vector<int> ours;
  auto add_output = [&](int fd, ShellStream stream) { shell.outputs.push_back({.fd = fd, .stream = stream, .masker = Masker(setting_->patterns)}); };
  if (wish.tty) {
    TRY_ASSIGN(auto terminal, open_terminal(wish.size));
    streams = {.in = terminal.slave, .out = terminal.slave, .err = terminal.slave, .terminal = true};
    shell.in = terminal.master;
    add_output(terminal.master, ShellStream::out);
  } else {
    int ends[3][2];
    for (int i = 0; i < 3; ++i)
      if (::pipe2(ends[i], O_CLOEXEC) != 0) {
        std::string why = std::strerror(errno);
        while (--i >= 0) ::close(ends[i][0]), ::close(ends[i][1]);
        return fail(Errc::unavailable, "cannot make a pipe: " + why);
      }
    streams = {.in = ends[0][0], .out = ends[1][1], .err = ends[2][1]};
    shell.in = ends[0][1];
    ::fcntl(shell.in, F_SETFL, O_NONBLOCK);
    add_output(ends[1][0], ShellStream::out);
    add_output(ends[2][0], ShellStream::err);
    for (auto& output : shell.outputs) ::fcntl(output.fd, F_SETFL, O_NONBLOCK);
  }
  auto pid = starter_.start_on(command, streams);
  ::close(streams.in);
  if (!wish.tty) ::close(streams.out), ::close(streams.err);
  if (!pid) {
    if (!wish.tty) close_fd(shell.in);
    for (auto& output : shell.outputs) close_fd(output.fd);
    return std::unexpected(pid.error());
  }
  shell.pid = *pid;
  events_.expect_exit(*pid);
  return {};
}

void JobShells::feed(Shell& shell, ShellInput& input) {
  if (shell.in < 0 || shell.input_ends) return;
  if (shell.input.size() + input.bytes.size() > static_cast<std::size_t>(shell_window_bytes))
    return hang_up(shell, "more input came than the shell had room for", shell_hangup_grace);
  shell.input += input.bytes;
  shell.input_ends = input.end;
  if (input.end && shell.tty) shell.input += end_of_transmission;
  write(shell);
}

void JobShells::write(Shell& shell) {
  std::size_t at = 0;
  while (shell.in >= 0 && at < shell.input.size()) {
    auto n = ::write(shell.in, shell.input.data() + at, shell.input.size() - at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) break;
    if (n > 0) {
      at += static_cast<std::size_t>(n);
    } else {
      at = shell.input.size();   // nobody reads it any more
      if (!shell.tty) close_fd(shell.in);
    }
  }
  if (at > 0) {
    shell.input.erase(0, at);
    shell.taken += static_cast<std::int64_t>(at);
    events_.send(ShellTaken{.shell = shell.number, .bytes = shell.taken});
  }
  if (shell.input_ends && shell.input.empty() && !shell.tty) close_fd(shell.in);
}

void JobShells::read(Shell& shell, Output& output) {
  char buffer[max_shell_piece_bytes];
  auto n = ::read(output.fd, buffer, sizeof buffer);
  bool more_may_come = n < 0 && (errno == EINTR || (errno == EAGAIN && !shell.status));
  if (more_may_come) return;
  shell.masked_stream = output.stream;
  if (n > 0) {
    output.masker.feed({buffer, static_cast<std::size_t>(n)}, shell.masked);
  } else {
    output.masker.finish(shell.masked);
    if (shell.tty) shell.in = -1;
    close_fd(output.fd);
  }
  send_masked(shell);
}

void JobShells::send_masked(Shell& shell) {
  while (!shell.masked.empty()) {
    auto room = shell_window_bytes - (shell.sent - shell.acknowledged);
    auto size = std::min<std::size_t>({shell.masked.size(), max_shell_piece_bytes, static_cast<std::size_t>(std::max<std::int64_t>(0, room))});
    if (size == 0) return;
    events_.send(ShellOutput{.shell = shell.number, .stream = shell.masked_stream, .bytes = shell.masked.substr(0, size)});
    shell.masked.erase(0, size);
    shell.sent += static_cast<std::int64_t>(size);
  }
}

/// Without grace the session is killed at once.
void JobShells::hang_up(Shell& shell, std::string why, Duration grace) {
  if (shell.why.empty()) shell.why = std::move(why);
  shell.masked.clear();
  if (!shell.tty) close_fd(shell.in);
  for (auto& output : shell.outputs) close_fd(output.fd);
  shell.in = -1;
  signal_session(shell.pid, grace > Duration::zero() ? SIGHUP : SIGKILL);
  shell.kill_at = std::min(shell.kill_at, steady_now() + grace);
}

void JobShells::end_all(std::string why) {
  ended_ = std::move(why);
  for (auto& message : std::exchange(early_, {})) take(message);
  for (auto& shell : shells_) {
    hang_up(shell, ended_, Duration::zero());
    say_end(shell);
  }
  shells_.clear();
  polled_.clear();
}

void JobShells::say_end(Shell& shell) {
  std::optional<int> code;
  if (shell.status && shell.why.empty()) code = exit_code_of(*shell.status);
  events_.send(ShellEnded{.shell = shell.number, .exit_code = code, .detail = shell.why});
  setting_->say("the shell of '" + shell.who + "' was closed after " + format_duration(std::chrono::floor<std::chrono::seconds>(steady_now() - shell.opened)));
}

void JobShells::add_to(std::vector<pollfd>& fds) {
  polled_.clear();
  for (auto& shell : shells_) {
    if (shell.in >= 0 && !shell.input.empty()) {
      fds.push_back({shell.in, POLLOUT, 0});
      polled_.emplace_back(&shell, -1);
    }
    if (!has_room(shell)) continue;
    for (std::size_t i = 0; i < shell.outputs.size(); ++i) {
      if (shell.outputs[i].fd < 0) continue;
      fds.push_back({shell.outputs[i].fd, POLLIN, 0});
      polled_.emplace_back(&shell, static_cast<int>(i));
    }
  }
}

void JobShells::on_poll(std::span<const pollfd> fds) {
  auto polled = std::exchange(polled_, {});
  for (std::size_t i = 0; i < fds.size() && i < polled.size(); ++i) {
    auto [shell, output] = polled[i];
    if (fds[i].revents == 0) continue;
    if (output < 0) write(*shell);
    else if (has_room(*shell) && shell->outputs[static_cast<std::size_t>(output)].fd == fds[i].fd) read(*shell, shell->outputs[static_cast<std::size_t>(output)]);
  }
}

void JobShells::look_after(Shell& shell) {
  if (!shell.status) shell.status = events_.take_exit(shell.pid);
  if (shell.kill_at <= steady_now()) {
    signal_session(shell.pid, SIGKILL);
    shell.kill_at = Time::max();
  }
  // What the program said before its end is there already; what it left running may hold the descriptors for ever.
  while (shell.status && has_room(shell)) {
    auto output = std::ranges::find_if(shell.outputs, [](auto& o) { return o.fd >= 0; });
    if (output == shell.outputs.end()) break;
    read(shell, *output);
  }
}

/// The program has ended, all it said is said, and nothing that it started in its session is left.
bool JobShells::is_over(Shell& shell) {
  bool silent = std::ranges::all_of(shell.outputs, [](auto& o) { return o.fd < 0; });
  if (!shell.status || !silent || !shell.masked.empty()) return false;
  if (shell.killed == Time{}) shell.killed = steady_now();
  if (!signal_session(shell.pid, SIGKILL) || steady_now() - shell.killed > shell_kill_patience) return true;
  shell.kill_at = steady_now() + std::chrono::milliseconds(5);
  return false;
}

void JobShells::tick() {
  for (auto at = shells_.begin(); at != shells_.end();) {
    look_after(*at);
    if (is_over(*at)) {
      say_end(*at);
      at = shells_.erase(at);
    } else {
      ++at;
    }
  }
}

Time JobShells::due() const {
  auto due = Time::max();
  for (auto& shell : shells_) due = std::min(due, shell.kill_at);
  return due;
}

}  // namespace mayfly
