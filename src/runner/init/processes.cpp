#include "runner/init/processes.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <set>

namespace mayfly {
namespace {

constexpr int pipe_bytes = 256 << 10;  // so that a step seldom waits for us; a wish, the kernel may refuse

struct Pipe {
  int read = -1;
  int write = -1;
};

bool make_pipe(Pipe& p) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return false;
  p = {ends[0], ends[1]};
  ::fcntl(p.read, F_SETPIPE_SZ, pipe_bytes);
  ::fcntl(p.read, F_SETFL, O_NONBLOCK);
  return true;
}

void close_pipe(Pipe& p) {
  if (p.read >= 0) ::close(p.read);
  if (p.write >= 0) ::close(p.write);
}

std::vector<char*> pointers(const std::vector<std::string>& strings) {
  std::vector<char*> out;
  for (auto& s : strings) out.push_back(const_cast<char*>(s.c_str()));
  out.push_back(nullptr);
  return out;
}

[[noreturn]] void child(const StepCommand& command, char* const* argv, char* const* envp, const ChildStreams& streams) {
  ::setsid();
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::signal(SIGPIPE, SIG_DFL);
  if (streams.terminal) ::ioctl(streams.in, TIOCSCTTY, 0);
  int in = streams.in >= 0 ? streams.in : ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (in > 0) ::dup2(in, 0);
  ::dup2(streams.out, 1);
  ::dup2(streams.err, 2);
  ::umask(022);
  const char* what = command.directory.c_str();
  if (::chdir(what) == 0) {
    what = argv[0];
    ::execve(argv[0], argv, envp);
  }
  int code = errno == ENOENT ? 127 : 126;
  ::dprintf(2, "mayfly: cannot run '%s': %s\n", what, std::strerror(errno));
  ::_exit(code);
}

struct ProcessInfo {
  pid_t pid;
  pid_t parent;
  pid_t session;
};

std::vector<ProcessInfo> processes() {
  std::vector<ProcessInfo> found;
  if (DIR* proc = ::opendir("/proc")) {
    while (auto* entry = ::readdir(proc)) {
      pid_t pid = std::atoi(entry->d_name);
      if (pid <= 0) continue;
      char path[64], text[512];
      std::snprintf(path, sizeof path, "/proc/%d/stat", pid);
      int fd = ::open(path, O_RDONLY | O_CLOEXEC);
      if (fd < 0) continue;
      auto n = ::read(fd, text, sizeof text - 1);
      ::close(fd);
      if (n <= 0) continue;
      text[n] = 0;
      const char* after_name = std::strrchr(text, ')');  // the name itself may hold anything
      char state;
      int parent, group, session;
      if (after_name && std::sscanf(after_name + 1, " %c %d %d %d", &state, &parent, &group, &session) == 4) found.push_back({pid, parent, session});
    }
    ::closedir(proc);
  }
  return found;
}

/// All processes below this one, by /proc; where this is process 1 of its namespace kill(-1) does it at once.
std::set<pid_t> descendants() {
  std::multimap<pid_t, pid_t> children;
  for (auto& p : processes()) children.emplace(p.parent, p.pid);
  std::set<pid_t> found;
  std::vector<pid_t> queue{::getpid()};
  while (!queue.empty()) {
    auto [from, to] = children.equal_range(queue.back());
    queue.pop_back();
    for (; from != to; ++from)
      if (found.insert(from->second).second) queue.push_back(from->second);
  }
  return found;
}

}  // namespace

StepStarter::StepStarter() : score_fd_(::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC)) {}

StepStarter::~StepStarter() {
  if (score_fd_ >= 0) ::close(score_fd_);
}

void StepStarter::set_score(std::string_view score) {
  if (score_fd_ < 0) return;
  [[maybe_unused]] auto n = ::pwrite(score_fd_, score.data(), score.size(), 0);
}

Result<pid_t> StepStarter::start_on(const StepCommand& command, ChildStreams streams) {
  std::vector<std::string> variables;
  for (auto& [key, value] : command.env) variables.push_back(key + "=" + value);
  auto argv = pointers(command.argv);
  auto envp = pointers(variables);
  set_score("500");  // a child is born with its parent's
  pid_t pid = ::fork();
  if (pid == 0) child(command, argv.data(), envp.data(), streams);
  std::string why = std::strerror(errno);
  set_score("0");
  if (pid < 0) return fail(Errc::unavailable, "cannot start a process: " + why);
  return pid;
}

Result<StepProcess> StepStarter::start(const StepCommand& command) {
  Pipe out, err;
  Result<pid_t> pid;
  if (make_pipe(out) && make_pipe(err)) pid = start_on(command, {.out = out.write, .err = err.write});
  else pid = fail(Errc::unavailable, std::string("cannot start a process: ") + std::strerror(errno));
  if (!pid) {
    close_pipe(out);
    close_pipe(err);
    return std::unexpected(pid.error());
  }
  ::close(out.write);
  ::close(err.write);
  return StepProcess{*pid, out.read, err.read};
}

std::int64_t memory_kills() {
  for (auto* file : {"/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"}) {  // version 2, version 1
    int fd = ::open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0) continue;
    char text[512];
    auto n = ::read(fd, text, sizeof text - 1);
    ::close(fd);
    text[std::max<ssize_t>(n, 0)] = 0;
    long long count = 0;
    if (auto* at = std::strstr(text, "oom_kill "); at && std::sscanf(at, "oom_kill %lld", &count) == 1) return count;
  }
  return 0;
}

void adopt_orphans() { ::prctl(PR_SET_CHILD_SUBREAPER, 1); }

void signal_all(int signal) {
  if (::getpid() == 1) {
    ::kill(-1, signal);
    return;
  }
  for (pid_t pid : descendants()) ::kill(pid, signal);
}

bool signal_session(pid_t leader, int signal) {
  bool any = false;
  for (auto& p : processes()) {
    if (p.session != leader) continue;
    any = true;
    ::kill(p.pid, signal);
  }
  return any;
}

void kill_all() {
  for (;;) {
    signal_all(SIGKILL);
    int status;
    pid_t pid = ::waitpid(-1, &status, 0);
    while (pid > 0) pid = ::waitpid(-1, &status, WNOHANG);
    if (pid < 0 && errno == ECHILD) return;
  }
}

}  // namespace mayfly
