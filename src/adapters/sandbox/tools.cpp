#include "adapters/sandbox/tools.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <sstream>

#include "adapters/sandbox/unique_fd.h"

extern char** environ;

namespace mayfly {
namespace {

std::string read_all(int fd) {
  std::string text;
  char buffer[4096];
  for (ssize_t n; (n = read(fd, buffer, sizeof buffer)) > 0 || (n < 0 && errno == EINTR);) {
    if (n > 0) text.append(buffer, std::size_t(n));
    if (text.size() > max_tool_output_bytes) text.erase(0, text.size() - max_tool_output_bytes);
  }
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
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
  auto program = find_program(arguments.at(0));
  if (program.empty())
    return fail(Errc::unsupported, "sandbox: the program '" + arguments[0] + "' is not installed", "run scripts/install-deps");
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return fail(Errc::unavailable, std::string("sandbox: no pipe: ") + std::strerror(errno));
  UniqueFd readable(ends[0]), writable(ends[1]);

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, writable.get(), 1);
  posix_spawn_file_actions_adddup2(&actions, writable.get(), 2);
  std::vector<char*> argv;
  for (auto& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  pid_t pid = -1;
  int error = posix_spawn(&pid, program.c_str(), &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) return fail(Errc::unavailable, "sandbox: cannot start " + program + ": " + std::strerror(error));

  writable.reset();
  auto output = read_all(readable.get());
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
  return fail(Errc::unavailable, "sandbox: " + arguments[0] + " failed: " + output);
}

}  // namespace mayfly
