#include "runner/init/service.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>

#include "runner/control/service.h"
#include "runner/init/events.h"
#include "runner/init/last_lines.h"
#include "runner/init/processes.h"
#include "runner/init/transport.h"

namespace mayfly {
namespace {

constexpr Duration first_ready_interval = std::chrono::milliseconds(50);
constexpr Duration last_ready_interval = std::chrono::seconds(1);
constexpr Duration ready_time_limit = std::chrono::seconds(30);   // of one question
constexpr std::size_t ready_lines = 5;                            // kept of its answer
constexpr const char* default_path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

std::string how_it_ended(int status) {
  if (WIFEXITED(status)) return "exited with " + std::to_string(WEXITSTATUS(status));
  return "was ended by signal " + std::to_string(WTERMSIG(status)) + " (" + ::strsignal(WTERMSIG(status)) + ")";
}

/// Where PATH finds a program; itself if it names a path, or nothing does.
std::string find_in_path(const std::string& program, const Env& env) {
  if (program.contains('/')) return program;
  auto path = env.contains("PATH") ? env.at("PATH") : std::string(default_path);
  for (std::size_t at = 0; at <= path.size();) {
    auto end = std::min(path.find(':', at), path.size());
    auto candidate = path.substr(at, end - at) + "/" + program;
    if (end > at && ::access(candidate.c_str(), X_OK) == 0) return candidate;
    at = end + 1;
  }
  return program;
}

class Service final {
 public:
  Service(int control, ServiceStart what)
      : control_(control), what_(std::move(what)), said_(max_service_lines, max_service_line_bytes), answer_(ready_lines, max_service_line_bytes) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    ::sigprocmask(SIG_BLOCK, &set, nullptr);
    ::signal(SIGPIPE, SIG_IGN);
    signals_ = ::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  }

  int run(StepStarter& starter) {
    what_.argv[0] = find_in_path(what_.argv[0], what_.env);
    auto started = starter.start({.argv = what_.argv, .env = what_.env, .directory = what_.directory});
    if (!started) return end(1, ServiceReport{.what = ServiceReport::What::ended, .how = "could not be started: " + started.error().message});
    main_ = *started;
    deadline_ = steady_now() + what_.ready_limit;
    next_question_ = steady_now();
    if (what_.ready.empty()) say_ready();
    for (;;) {
      if (auto finished = look(starter)) return *finished;
      wait();
    }
  }

 private:
  /// What there is to do now; an exit code when all is over.
  std::optional<int> look(StepStarter& starter) {
    reap();
    if (hung_up_) return end(1, std::nullopt);
    if (main_status_) {
      drain(main_, said_);
      return end(0, ServiceReport{.what = ServiceReport::What::ended, .how = how_it_ended(*main_status_), .killed = WIFSIGNALED(*main_status_) && WTERMSIG(*main_status_) == SIGKILL});
    }
    if (ready_) return std::nullopt;
    auto now = steady_now();
    if (question_.pid > 0 && question_status_) conclude(now);
    if (!ready_ && now >= deadline_) return end(0, ServiceReport{.what = ServiceReport::What::late, .how = last_answer_.empty() ? "its `ready` never ended" : last_answer_});
    if (question_.pid > 0 && now >= question_until_) ::kill(-question_.pid, SIGKILL);
    if (!ready_ && question_.pid < 0 && now >= next_question_) ask(starter, now);
    return std::nullopt;
  }

  void ask(StepStarter& starter, Time now) {
    answer_ = LastLines(ready_lines, max_service_line_bytes);
    question_status_.reset();
    question_until_ = now + ready_time_limit;
    auto started = starter.start({.argv = {"/bin/sh", "-c", what_.ready}, .env = what_.env, .directory = what_.directory});
    if (started) question_ = *started;
    else next_question_ = now + last_ready_interval;
  }

  void conclude(Time now) {
    drain(question_, answer_);
    close_streams(question_);
    question_.pid = -1;
    if (WIFEXITED(*question_status_) && WEXITSTATUS(*question_status_) == 0) return say_ready();
    last_answer_ = "its `ready` " + how_it_ended(*question_status_);
    auto lines = answer_.lines();
    if (!lines.empty()) last_answer_ += ": " + lines.back();
    last_answer_.resize(std::min(last_answer_.size(), max_service_line_bytes / 2));
    interval_ = std::min<Duration>(interval_ * 2, last_ready_interval);
    next_question_ = now + interval_;
  }

  void say_ready() {
    ready_ = true;
    send({.what = ServiceReport::What::ready});
  }

  int end(int code, std::optional<ServiceReport> report) {
    kill_all();
    if (report) {
      drain(main_, said_);
      report->last_lines = said_.lines();
      send(*report);
    }
    return code;
  }

  void send(const ServiceReport& report) {
    auto line = to_line(report);
    for (std::size_t at = 0; at < line.size();) {
      auto n = ::send(control_, line.data() + at, line.size() - at, MSG_NOSIGNAL);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return;
      at += std::size_t(n);
    }
  }

  void reap() {
    signalfd_siginfo ignored;
    while (::read(signals_, &ignored, sizeof ignored) > 0) {}
    int status;
    for (pid_t pid; (pid = ::waitpid(-1, &status, WNOHANG)) > 0;) {
      if (pid == main_.pid) main_status_ = status;
      if (pid == question_.pid) question_status_ = status;
    }
  }

  void drain(StepProcess& process, LastLines& into) {
    for (int* fd : {&process.out, &process.err}) {
      char buffer[16384];
      for (ssize_t n; *fd >= 0 && (n = ::read(*fd, buffer, sizeof buffer)) != 0;) {
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) break;
        into.feed({buffer, std::size_t(n)});
      }
    }
  }

  static void close_streams(StepProcess& process) {
    for (int* fd : {&process.out, &process.err}) {
      if (*fd >= 0) ::close(*fd);
      *fd = -1;
    }
  }

  /// One read of a stream that has something; closed at its end.
  static void read_some(int& fd, LastLines& into) {
    char buffer[65536];
    auto n = ::read(fd, buffer, sizeof buffer);
    if (n > 0) into.feed({buffer, std::size_t(n)});
    if (n == 0) {
      ::close(fd);
      fd = -1;
    }
  }

  int timeout() const {
    if (ready_) return -1;
    auto until = std::min(deadline_, question_.pid > 0 ? question_until_ : next_question_);
    return int(std::clamp<std::int64_t>((until - steady_now()) / std::chrono::milliseconds(1) + 1, 0, 60'000));
  }

  void wait() {
    pollfd polled[] = {{control_, POLLIN, 0}, {signals_, POLLIN, 0}, {main_.out, POLLIN, 0}, {main_.err, POLLIN, 0}, {question_.out, POLLIN, 0}, {question_.err, POLLIN, 0}};
    if (::poll(polled, std::size(polled), timeout()) <= 0) return;
    if (polled[0].revents) {
      char byte;
      if (::recv(control_, &byte, 1, MSG_DONTWAIT) == 0) hung_up_ = true;
    }
    int* fds[] = {&main_.out, &main_.err, &question_.out, &question_.err};
    for (std::size_t i = 0; i < std::size(fds); ++i)
      if (polled[i + 2].revents) read_some(*fds[i], i < 2 ? said_ : answer_);
  }

  int control_;
  int signals_ = -1;
  ServiceStart what_;
  StepProcess main_;
  StepProcess question_;
  std::optional<int> main_status_;
  std::optional<int> question_status_;
  LastLines said_;
  LastLines answer_;
  std::string last_answer_;
  Time deadline_{};
  Time next_question_{};
  Time question_until_{};
  Duration interval_ = first_ready_interval;
  bool ready_ = false;
  bool hung_up_ = false;
};

std::optional<ServiceStart> read_start(int control) {
  std::string line;
  char buffer[65536];
  while (!line.contains('\n')) {
    auto n = ::read(control, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0 || line.size() > max_service_start_bytes) return std::nullopt;
    line.append(buffer, std::size_t(n));
  }
  auto start = service_start_from(line);
  return start ? std::optional(*std::move(start)) : std::nullopt;
}

}  // namespace

std::optional<int> service_descriptor(int argc, const char* const* argv) {
  int fd = -1;
  if (argc != 3 || std::string_view(argv[1]) != "--service-fd") return std::nullopt;
  std::string_view number = argv[2];
  auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), fd);
  if (error != std::errc{} || end != number.data() + number.size() || fd < 3 || ::fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) return std::nullopt;
  return fd;
}

int run_service(int control) {
  close_all_but({.in = control, .out = control});
  StepStarter starter;
  adopt_orphans();
  auto start = read_start(control);
  return start ? Service(control, *std::move(start)).run(starter) : 2;
}

}  // namespace mayfly
