#include "adapters/git/git_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace mayfly {
namespace {

constexpr int config_fd = 3;
constexpr const char* passed_on[] = {"PATH", "HOME", "SSH_AUTH_SOCK", "http_proxy", "https_proxy", "no_proxy", "all_proxy", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"};

class Fd {
 public:
  explicit Fd(int fd = -1) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Fd() { close(); }
  int get() const { return fd_; }
  void close() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }

 private:
  int fd_;
};

std::unexpected<Error> cannot(std::string_view what) {
  return fail(Errc::unavailable, "git: cannot " + std::string(what) + ": " + std::strerror(errno));
}

struct Pipe {
  Fd read, write;
};

Result<Pipe> make_pipe() {
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) != 0) return cannot("make a pipe");
  Pipe out{.read = Fd(fds[0]), .write = Fd(fds[1])};
  ::fcntl(fds[0], F_SETFL, O_NONBLOCK);
  return out;
}

Result<Fd> memory_file(std::string_view text) {
  Fd file(::memfd_create("git", MFD_CLOEXEC));
  if (file.get() < 0) return cannot("make its configuration");
  while (!text.empty()) {
    auto n = ::write(file.get(), text.data(), text.size());
    if (n < 0) return cannot("write its configuration");
    text.remove_prefix(std::size_t(n));
  }
  ::lseek(file.get(), 0, SEEK_SET);
  return file;
}

std::vector<std::string> environment_of(const GitCommand& command) {
  std::vector<std::string> out = {
      "LC_ALL=C",
      "GIT_TERMINAL_PROMPT=0",
      "GIT_ASKPASS=/bin/false",
      "SSH_ASKPASS=/bin/false",
      "GIT_CONFIG_NOSYSTEM=1",
      "GIT_CONFIG_GLOBAL=/proc/self/fd/" + std::to_string(config_fd),
      "GIT_ATTR_NOSYSTEM=1",
      "GIT_OPTIONAL_LOCKS=0",
      "GIT_ALLOW_PROTOCOL=file:git:http:https:ssh",
      "GIT_PROTOCOL_FROM_USER=0",
  };
  for (auto name : passed_on)
    if (auto value = std::getenv(name)) out.push_back(std::string(name) + "=" + value);
  out.insert(out.end(), command.environment.begin(), command.environment.end());
  return out;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> out;
  for (auto& text : texts) out.push_back(text.data());
  out.push_back(nullptr);
  return out;
}

struct Child {
  const char* program;
  char** arguments;
  char** environment;
  int output, errors, config, input;
  rlim_t max_file_bytes;
  pid_t parent;
};

// Runs between vfork and exec, in the parent's memory: system calls only.
[[noreturn]] void become_git(const Child& child) {
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != child.parent) ::_exit(127);
  rlimit size{child.max_file_bytes, child.max_file_bytes};
  ::setrlimit(RLIMIT_FSIZE, &size);
  struct sigaction action{};
  action.sa_handler = SIG_DFL;
  ::sigaction(SIGPIPE, &action, nullptr);
  action.sa_handler = SIG_IGN;
  ::sigaction(SIGXFSZ, &action, nullptr);   // so that git says what went wrong instead of dying of it
  // Above the numbers they are put at, so that no dup2 overwrites one still needed.
  int output = ::fcntl(child.output, F_DUPFD_CLOEXEC, 10), errors = ::fcntl(child.errors, F_DUPFD_CLOEXEC, 10);
  int config = ::fcntl(child.config, F_DUPFD_CLOEXEC, 10), input = ::fcntl(child.input, F_DUPFD_CLOEXEC, 10);
  if (::dup2(input, 0) < 0 || ::dup2(output, 1) < 0 || ::dup2(errors, 2) < 0 || ::dup2(config, config_fd) < 0) ::_exit(127);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::execvpe(child.program, child.arguments, child.environment);
  ::_exit(127);
}

// Signals stay blocked while the child shares our memory, so that no handler of ours runs in it.
[[gnu::noinline]] pid_t start(const Child& child) {
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_BLOCK, &all, &before);
  pid_t pid = ::vfork();
  if (pid == 0) become_git(child);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return pid;
}

// Appends what is there; false at the end of the stream.
bool drain(const Fd& from, std::string& into, std::size_t limit, bool& over) {
  std::array<char, 16384> buffer;
  for (;;) {
    auto n = ::read(from.get(), buffer.data(), buffer.size());
    if (n == 0) return false;
    if (n < 0) return errno == EAGAIN || errno == EINTR;
    auto room = limit - into.size();
    over |= std::size_t(n) > room;
    into.append(buffer.data(), std::min(std::size_t(n), room));
  }
}

int time_left_ms(std::chrono::steady_clock::time_point deadline) {
  auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now()).count();
  return int(std::max<std::int64_t>(0, left + 1));
}

// Kills the whole group whenever it goes out of scope, so that no helper of git's outlives the command.
class Running {
 public:
  explicit Running(pid_t pid) : pid_(pid), pidfd_(int(::syscall(SYS_pidfd_open, pid, 0))) {}
  ~Running() { end(); }
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;
  int fd() const { return pidfd_.get(); }
  int end() {
    if (pid_ > 0) {
      ::kill(-pid_, SIGKILL);   // an ended leader keeps the group's number until it is waited for
      while (::waitpid(pid_, &status_, 0) < 0 && errno == EINTR) {
      }
      pid_ = -1;
    }
    return status_;
  }

 private:
  pid_t pid_;
  Fd pidfd_;
  int status_ = 0;
};

struct Streams {
  Fd output, errors;
};

Result<GitFinished> supervise(Running& git, Streams streams, const GitCommand& command, const StopFlag& stop) {
  auto deadline = std::chrono::steady_clock::now() + command.time_limit;
  GitFinished out;
  bool too_much = false, cut = false, ended = false;
  while (!ended) {
    pollfd fds[] = {{git.fd(), POLLIN, 0}, {stop.fd(), POLLIN, 0}, {streams.output.get(), POLLIN, 0}, {streams.errors.get(), POLLIN, 0}};
    if (::poll(fds, std::size(fds), time_left_ms(deadline)) < 0 && errno != EINTR) return cannot("wait for it");
    if (fds[1].revents) return fail(Errc::canceled, "git was stopped because the server is shutting down");
    ended = fds[0].revents != 0;
    if (streams.output.get() >= 0 && !drain(streams.output, out.output, max_git_output_bytes, too_much)) streams.output.close();
    if (streams.errors.get() >= 0 && !drain(streams.errors, out.errors, max_git_errors_bytes, cut)) streams.errors.close();
    if (too_much) return fail(Errc::too_large, "git printed more than " + std::to_string(max_git_output_bytes) + " bytes");
    if (!ended && std::chrono::steady_clock::now() >= deadline)
      return fail(Errc::timeout, "git did not finish within " + std::to_string(command.time_limit.count()) + " ms");
  }
  int status = git.end();
  if (out.errors.contains(std::strerror(EFBIG)))
    return fail(Errc::too_large, "git wrote a file larger than " + std::to_string(command.max_file_bytes) + " bytes");
  out.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  if (out.exit_code == 127) return fail(Errc::unavailable, "cannot start '" + command.program + "'", "is git installed and in PATH?");
  return out;
}

}  // namespace

StopFlag::StopFlag() : fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}
StopFlag::~StopFlag() { ::close(fd_); }
void StopFlag::raise() {
  std::uint64_t one = 1;
  [[maybe_unused]] auto n = ::write(fd_, &one, sizeof one);
}

struct GitPipe::Impl {
  Running git;
  Fd output, errors;
  std::chrono::steady_clock::time_point deadline;
};

GitPipe::GitPipe(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
GitPipe::GitPipe(GitPipe&&) noexcept = default;
GitPipe::~GitPipe() = default;

/// Standard error goes to memory: nobody reads it meanwhile.
Result<GitPipe> GitPipe::start(const GitCommand& command) {
  TRY_ASSIGN(auto output, make_pipe());
  TRY_ASSIGN(auto errors, memory_file({}));
  TRY_ASSIGN(auto config, memory_file(command.config));
  TRY_ASSIGN(auto input, memory_file(command.input));
  auto arguments = command.arguments;
  arguments.insert(arguments.begin(), command.program);
  auto environment = environment_of(command);
  auto argv = pointers(arguments), envp = pointers(environment);
  Child child{command.program.c_str(), argv.data(), envp.data(), output.write.get(), errors.get(), config.get(), input.get(), rlim_t(command.max_file_bytes), ::getpid()};
  pid_t pid = mayfly::start(child);
  if (pid < 0) return cannot("start a process");
  return GitPipe(std::unique_ptr<Impl>(new Impl{Running(pid), std::move(output.read), std::move(errors), std::chrono::steady_clock::now() + command.time_limit}));
}

Result<std::size_t> GitPipe::read(std::span<char> into, const StopFlag& stop) {
  for (;;) {
    pollfd fds[] = {{impl_->output.get(), POLLIN, 0}, {stop.fd(), POLLIN, 0}};
    if (::poll(fds, std::size(fds), time_left_ms(impl_->deadline)) < 0 && errno != EINTR) return cannot("wait for it");
    if (fds[1].revents) return fail(Errc::canceled, "git was stopped because the server is shutting down");
    auto n = ::read(impl_->output.get(), into.data(), into.size());
    if (n >= 0) return static_cast<std::size_t>(n);
    if (errno != EAGAIN && errno != EINTR) return cannot("read what it says");
    if (std::chrono::steady_clock::now() >= impl_->deadline) return fail(Errc::timeout, "git did not finish in time");
  }
}

std::string GitPipe::end() {
  impl_->git.end();
  std::string said(max_git_errors_bytes, '\0');
  auto n = ::pread(impl_->errors.get(), said.data(), said.size(), 0);
  said.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
  return said;
}

Result<GitFinished> run_git(const GitCommand& command, const StopFlag& stop) {
  TRY_ASSIGN(auto output, make_pipe());
  TRY_ASSIGN(auto errors, make_pipe());
  TRY_ASSIGN(auto config, memory_file(command.config));
  TRY_ASSIGN(auto input, memory_file(command.input));
  auto arguments = command.arguments;
  arguments.insert(arguments.begin(), command.program);
  auto environment = environment_of(command);
  auto argv = pointers(arguments), envp = pointers(environment);
  Child child{command.program.c_str(), argv.data(), envp.data(), output.write.get(), errors.write.get(), config.get(), input.get(),
              rlim_t(command.max_file_bytes), ::getpid()};
  pid_t pid = start(child);
  if (pid < 0) return cannot("start a process");
  Running git(pid);
  if (git.fd() < 0) return cannot("watch its process");
  output.write.close();
  errors.write.close();
  return supervise(git, {.output = std::move(output.read), .errors = std::move(errors.read)}, command, stop);
}

}  // namespace mayfly
