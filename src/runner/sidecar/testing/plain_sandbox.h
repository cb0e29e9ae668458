#pragma once
// No sandbox at all: mayfly-init as a child process, for tests of what is around it.

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "ports/clock.h"
#include "runner/sandbox/launcher.h"

namespace mayfly {

class PlainSandbox final : public Sandbox {
 public:
  struct Facts {
    bool out_of_memory = false;
    bool disk_full = false;
    bool no_network = false;
    std::optional<ServiceFailure> service_not_ready = {};
    std::optional<ServiceFailure> service_ends = {};   // once service_ends_at is there
    std::string service_ends_at = {};
    std::string says = {};                              // while it is made ready
  };

  PlainSandbox(Clock& clock, const SandboxSpec& spec, Facts facts) : clock_(clock), facts_(facts) {
    std::filesystem::create_directories(spec.attempt_dir + "/workspace");
    std::filesystem::create_directories(spec.attempt_dir + "/tmp");
    auto workspace = std::filesystem::canonical(spec.attempt_dir + "/workspace").string();
    paths_ = {workspace, workspace, ::getuid(), ::getgid()};
    if (!facts_.says.empty()) spec.say(facts_.says);
    start(spec);
  }
  ~PlainSandbox() override {
    kill();
    if (!exit_code_) ::waitpid(pid_, nullptr, 0);
  }

  const SandboxPaths& paths() const override { return paths_; }
  Task<Result<void>> network_ready() override {
    if (facts_.no_network) co_return fail(Errc::unavailable, "no network today");
    co_return Result<void>{};
  }
  Task<std::optional<ServiceFailure>> start_services() override { co_return facts_.service_not_ready; }
  Task<std::optional<ServiceFailure>> service_ended() override {
    while (facts_.service_ends && !std::filesystem::exists(facts_.service_ends_at)) co_await sleep_for(clock_, std::chrono::milliseconds(1));
    co_return facts_.service_ends;
  }
  Task<Result<SandboxExit>> wait() override {
    while (!exit_code_) {
      int status;
      if (::waitpid(pid_, &status, WNOHANG) == pid_) exit_code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
      else co_await sleep_for(clock_, std::chrono::milliseconds(1));
    }
    co_return SandboxExit{*exit_code_, ""};
  }
  /// Init, and with it (for it is no process 1 here) whatever sits in the sessions of its steps.
  void kill() override {
    if (exit_code_) return;
    for (pid_t pid : below(pid_)) ::kill(pid, SIGKILL);
    ::kill(pid_, SIGKILL);
  }
  bool out_of_memory() const override { return facts_.out_of_memory; }
  bool disk_full() const override { return facts_.disk_full; }

 private:
  static std::vector<pid_t> below(pid_t root) {
    std::vector<pid_t> found{root};
    for (std::size_t i = 0; i < found.size(); ++i) {
      auto path = "/proc/" + std::to_string(found[i]) + "/task/" + std::to_string(found[i]) + "/children";
      if (FILE* f = ::fopen(path.c_str(), "re")) {
        for (int pid; ::fscanf(f, "%d", &pid) == 1;) found.push_back(pid);
        ::fclose(f);
      }
    }
    return found;
  }

  void start(const SandboxSpec& spec) {
    auto control = std::to_string(spec.control_fd), log = std::to_string(spec.log_fd), tmp = "TMPDIR=" + spec.attempt_dir + "/tmp";
    std::vector<const char*> argv{spec.init_path.c_str(), "--control-fd", control.c_str(), "--log-fd", log.c_str(), "--workspace", paths_.workspace_inside.c_str(), nullptr};
    std::vector<const char*> envp{tmp.c_str(), nullptr};
    pid_ = ::fork();
    if (pid_ != 0) return;
    ::fcntl(spec.control_fd, F_SETFD, 0);
    ::fcntl(spec.log_fd, F_SETFD, 0);
    ::execve(argv[0], const_cast<char* const*>(argv.data()), const_cast<char* const*>(envp.data()));
    ::_exit(127);
  }

  Clock& clock_;
  Facts facts_;
  SandboxPaths paths_;
  pid_t pid_ = -1;
  std::optional<int> exit_code_;
};

}  // namespace mayfly
