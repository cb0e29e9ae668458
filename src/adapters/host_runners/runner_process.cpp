#include "adapters/host_runners/runner_process.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <sstream>

#include "adapters/sandbox/clone.h"
#include "adapters/sandbox/disk.h"
#include "adapters/sandbox/tools.h"

namespace mayfly {
namespace {

// The server's environment may hold its passwords; a runner gets none of it but these.
constexpr const char* passed_on[] = {
    "PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO", "http_proxy", "https_proxy",
    "no_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS"};

struct Layout {
  std::vector<char*> arguments;
  std::vector<char*> environment;
  int token_fd;
  int log_fd;
  int failure_fd;
  bool own_mounts;
  int disk;
  const char* disk_directory;
};

// Async-signal-safe calls only.
[[noreturn]] void child_main(const Layout& layout) {
  restore_signals();
  setsid();
  umask(077);
  bool ok = !layout.own_mounts || mount(nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr) == 0;
  ok = ok && (layout.disk < 0 || attach_disk(layout.disk, layout.disk_directory));
  ok = ok && dup2(layout.token_fd, 0) == 0 && dup2(layout.log_fd, 1) == 1 && dup2(layout.log_fd, 2) == 2;
  ok = ok && syscall(SYS_close_range, 3, ~0U, CLOSE_RANGE_CLOEXEC) == 0;
  if (ok) execve(layout.arguments[0], layout.arguments.data(), layout.environment.data());
  int error = errno;
  [[maybe_unused]] auto written = write(layout.failure_fd, &error, sizeof error);
  _exit(127);
}

std::vector<std::string> reduced_environment() {
  std::vector<std::string> kept;
  for (const char* name : passed_on)
    if (const char* value = std::getenv(name)) kept.push_back(std::string(name) + "=" + value);
  return kept;
}

std::vector<char*> pointers(std::vector<std::string>& strings) {
  std::vector<char*> all;
  for (auto& text : strings) all.push_back(text.data());
  all.push_back(nullptr);
  return all;
}

struct Stat {
  char state = 0;
  std::uint64_t start_ticks = 0;
};

/// Fields 3 and 22 of /proc/<pid>/stat; the name before them may hold anything, so counted from its closing parenthesis.
std::optional<Stat> read_stat(pid_t pid) {
  auto text = read_whole("/proc/" + std::to_string(pid) + "/stat");
  auto name_end = text.rfind(')');
  if (name_end == std::string::npos) return std::nullopt;
  std::istringstream fields(text.substr(name_end + 1));
  Stat stat;
  std::string skipped;
  fields >> stat.state;
  for (int field = 4; field < 22; ++field) fields >> skipped;
  fields >> stat.start_ticks;
  if (!fields) return std::nullopt;
  return stat;
}

std::string boot_id() {
  auto id = read_whole("/proc/sys/kernel/random/boot_id");
  return id.substr(0, id.find('\n'));
}

std::unexpected<Error> failed(const std::string& what) {
  return fail(Errc::unavailable, "cannot " + what + ": " + std::strerror(errno));
}

/// Puts the new process on record; once it executes the runner, gives it its token.
Result<void> introduce(const RunnerCommand& command, pid_t pid, int failure_fd, int token_fd) {
  auto stat = read_stat(pid);
  RunnerProcess record{pid, stat ? stat->start_ticks : 0, boot_id()};
  TRY(write_file_atomically(command.directory + "/" + process_file_name, to_json(record)));
  int error = 0;
  if (read(failure_fd, &error, sizeof error) == sizeof error) {
    errno = error;
    return failed("execute " + command.program);
  }
  if (write(token_fd, command.boot_token.data(), command.boot_token.size()) != ssize_t(command.boot_token.size()))
    return failed("hand the boot token to " + command.program);
  return {};
}

}  // namespace

Result<UniqueFd> spawn_runner(const RunnerCommand& command, const CgroupMounts& mounts, AttemptId attempt) {
  int token[2], failure[2];
  if (pipe2(token, O_CLOEXEC) != 0) return failed("make a pipe");
  UniqueFd token_reader(token[0]), token_writer(token[1]);
  if (pipe2(failure, O_CLOEXEC) != 0) return failed("make a pipe");
  UniqueFd failure_reader(failure[0]), failure_writer(failure[1]);
  auto log = command.directory + "/" + runner_log_name;
  UniqueFd log_fd(open(log.c_str(), O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600));
  if (!log_fd) return failed("write " + log);
  auto cgroup = make_runner_cgroup(mounts, attempt);

  std::vector<std::string> arguments = {command.program, "--dir", command.directory};
  auto environment = reduced_environment();
  auto disk_directory = command.directory + "/disk";
  if (command.disk >= 0 && mkdir(disk_directory.c_str(), 0711) != 0) return failed("make " + disk_directory);
  bool own_mounts = geteuid() == 0;
  Layout layout{pointers(arguments), pointers(environment), token_reader.get(), log_fd.get(), failure_writer.get(), own_mounts, own_mounts ? command.disk : -1, disk_directory.c_str()};
  int pidfd = -1;
  pid_t pid = clone_process(own_mounts ? CLONE_NEWNS : 0, cgroup.get(), &pidfd);
  if (pid == 0) child_main(layout);
  if (pid < 0) return failed("start a process for " + command.program);
  UniqueFd process(pidfd);
  failure_writer.reset();
  auto born = introduce(command, pid, failure_reader.get(), token_writer.get());
  if (born) return process;
  kill(pid, SIGKILL);
  waitpid(pid, nullptr, 0);
  return std::unexpected(born.error());
}

std::optional<UniqueFd> find_process(const RunnerProcess& process) {
  UniqueFd pidfd(int(syscall(SYS_pidfd_open, process.pid, 0)));
  auto stat = read_stat(process.pid);
  bool same = pidfd && stat && stat->start_ticks == process.start_ticks && process.boot_id == boot_id();
  if (!same || stat->state == 'Z' || stat->state == 'X') return std::nullopt;
  return pidfd;
}

}  // namespace mayfly
