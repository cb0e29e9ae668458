#include "support/crash.h"

#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <stdexcept>

namespace mayfly {
namespace {

int exit_code_of(pid_t child) {
  int status = 0;
  if (waitpid(child, &status, 0) != child) throw std::runtime_error("waitpid");
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

template <class F>
pid_t fork_into(F child_work) {
  std::fflush(nullptr);
  auto child = fork();
  if (child < 0) throw std::runtime_error("fork");
  if (child == 0) {
    try {
      _exit(child_work());
    } catch (const std::exception& e) {
      std::fprintf(stderr, "child: %s\n", e.what());
      _exit(99);
    }
  }
  return child;
}

/// Mounts made after this are seen by this process alone, and gone with it.
bool own_mounts() {
  auto uid = geteuid();
  if (uid == 0) return unshare(CLONE_NEWNS) == 0 && mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
  if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return false;
  std::ofstream("/proc/self/uid_map") << "0 " << uid << " 1";
  return geteuid() == 0;
}

}  // namespace

std::vector<std::string> kill_during(const std::function<void(const Acknowledge&)>& work, Duration after) {
  int ends[2];
  if (pipe(ends) != 0) throw std::runtime_error("pipe");
  auto child = fork_into([&] {
    close(ends[0]);
    // Short writes to a pipe are atomic.
    work([&](const std::string& line) {
      auto whole = line + "\n";
      if (write(ends[1], whole.data(), whole.size()) != ssize_t(whole.size())) _exit(98);
    });
    return 97;
  });
  close(ends[1]);

  std::string told;
  auto read_some = [&](std::chrono::microseconds patience) {
    pollfd pipe_end{ends[0], POLLIN, 0};
    if (poll(&pipe_end, 1, int(patience.count() / 1000) + 1) <= 0) return true;
    char buffer[65536];
    auto n = read(ends[0], buffer, sizeof buffer);
    if (n > 0) told.append(buffer, std::size_t(n));
    return n > 0;
  };
  while (told.empty() && read_some(std::chrono::seconds{1})) {
  }
  auto end = std::chrono::steady_clock::now() + after;
  while (std::chrono::steady_clock::now() < end)
    if (!read_some(std::chrono::duration_cast<std::chrono::microseconds>(end - std::chrono::steady_clock::now()))) break;
  kill(child, SIGKILL);
  while (read_some(std::chrono::seconds{10})) {
  }
  close(ends[0]);
  if (auto code = exit_code_of(child); code != -1) throw std::runtime_error("the victim ended by itself: " + std::to_string(code));

  std::vector<std::string> lines;
  for (std::size_t at = 0, end_of_line; (end_of_line = told.find('\n', at)) != told.npos; at = end_of_line + 1)
    lines.push_back(told.substr(at, end_of_line - at));
  return lines;
}

bool passes_unprivileged(const std::function<bool()>& check) {
  return exit_code_of(fork_into([&] {
           constexpr uid_t nobody = 65534;
           if (geteuid() == 0 && (setgid(nobody) != 0 || setuid(nobody) != 0)) return 2;
           return check() ? 0 : 1;
         })) == 0;
}

bool passes_on_small_disk(std::size_t bytes, const std::string& folder, const std::function<bool()>& check) {
  return exit_code_of(fork_into([&] {
           if (!own_mounts()) throw std::runtime_error("no mount namespace to be had on this machine");
           auto size = "size=" + std::to_string(bytes);
           if (mount("tmpfs", folder.c_str(), "tmpfs", 0, size.c_str()) != 0) throw std::runtime_error("mount tmpfs");
           return check() ? 0 : 1;
         })) == 0;
}

}  // namespace mayfly
