#include "adapters/sandbox/tools.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <sstream>

#include "adapters/sandbox/unique_fd.h"

extern char** environ;

namespace mayfly {
namespace {

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> out;
  for (auto& text : texts) out.push_back(const_cast<char*>(text.c_str()));
  out.push_back(nullptr);
  return out;
}

/// In a process group of its own, so that it can be ended with its children.
Result<pid_t> spawn(const std::string& program, const std::vector<std::string>& arguments, const ToolOptions& options, int output) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, output, 1);
  posix_spawn_file_actions_adddup2(&actions, output, 2);
  if (options.descriptor >= 0) posix_spawn_file_actions_adddup2(&actions, options.descriptor, 3);
  if (!options.directory.empty()) posix_spawn_file_actions_addchdir_np(&actions, options.directory.c_str());
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
  pid_t pid = -1;
  auto environment = pointers(options.environment);
  int error = posix_spawn(&pid, program.c_str(), &actions, &attributes, pointers(arguments).data(), options.environment.empty() ? environ : environment.data());
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (error != 0) return fail(Errc::unavailable, "sandbox: cannot start " + program + ": " + std::strerror(error));
  return pid;
}

/// Reads to the end of its output, unless it is to be stopped.
Result<void> watch(int fd, const ToolOptions& options, std::string& output) {
  bool interested = options.look || options.stop.stop_possible();
  for (;;) {
    pollfd polled{fd, POLLIN, 0};
    int n = poll(&polled, 1, interested ? tool_look_interval_ms : -1);
    if (options.stop.stop_requested()) return fail(Errc::canceled, "sandbox: stopped");
    if (options.look) TRY(options.look());
    if (n <= 0) continue;
    char buffer[4096];
    auto got = read(fd, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return {};
    output.append(buffer, std::size_t(got));
    if (output.size() > max_tool_output_bytes) output.erase(0, output.size() - max_tool_output_bytes);
  }
}

}  // namespace

std::string read_whole(const std::string& path, std::size_t limit) {
  UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::string text;
  char buffer[4096];
  for (ssize_t n; fd && text.size() < limit && (n = read(fd.get(), buffer, std::min(sizeof buffer, limit - text.size()))) > 0;) text.append(buffer, std::size_t(n));
  return text;
}

std::string unique_suffix() {
  static std::atomic<std::uint64_t> number = 0;
  return std::to_string(getpid()) + "-" + std::to_string(number++);
}

std::string find_program(const std::string& name) {
  if (name.find('/') != std::string::npos) return access(name.c_str(), X_OK) == 0 ? name : "";
  const char* path = std::getenv("PATH");
  std::istringstream directories((path ? std::string(path) : "/usr/local/bin:/usr/bin:/bin") + ":/usr/sbin:/sbin");
  for (std::string directory; std::getline(directories, directory, ':');)
    if (auto candidate = directory + "/" + name; !directory.empty() && access(candidate.c_str(), X_OK) == 0) return candidate;
  return "";
}

Result<void> run_tool(const std::vector<std::string>& arguments) {
  TRY(run_tool(arguments, ToolOptions{}));
  return {};
}

Result<std::string> run_tool(const std::vector<std::string>& arguments, const ToolOptions& options) {
  auto program = find_program(arguments.at(0));
  if (program.empty())
    return fail(Errc::unsupported, "sandbox: the program '" + arguments[0] + "' is not installed", "run scripts/install-deps");
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return fail(Errc::unavailable, std::string("sandbox: no pipe: ") + std::strerror(errno));
  UniqueFd readable(ends[0]), writable(ends[1]);
  auto pid = spawn(program, arguments, options, writable.get());
  if (!pid) return std::unexpected(pid.error());
  writable.reset();
  std::string output;
  auto watched = watch(readable.get(), options, output);
  if (!watched) kill(-*pid, SIGKILL);
  int status = 0;
  while (waitpid(*pid, &status, 0) < 0 && errno == EINTR) {}
  if (!watched) return std::unexpected(watched.error());
  while (!output.empty() && output.back() == '\n') output.pop_back();
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return output;
  return fail(Errc::unavailable, "sandbox: " + arguments[0] + " failed: " + output);
}

}  // namespace mayfly
