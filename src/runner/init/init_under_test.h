#pragma once
// The real mayfly-init, started without a sandbox around it, for tests: they write the sidecar's messages and see what it says
// and logs.

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "domain/logs/frame.h"
#include "runner/control/messages.h"

namespace mayfly {

struct LoggedFrame {
  std::int64_t offset;
  int step;
  LogStream stream;
  std::string text;
};

class InitUnderTest final {
 public:
  explicit InitUnderTest(std::string program, std::vector<std::string> environment = {}) {
    std::string name = std::filesystem::temp_directory_path() / "init-test-XXXXXX";
    if (!::mkdtemp(name.data())) ADD_FAILURE() << "no temporary directory";
    directory_ = name;
    std::filesystem::create_directories(directory_ / "workspace");
    std::filesystem::create_directories(directory_ / "tmp");
    int pair[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    control_ = pair[0];
    int log = ::open((directory_ / "log").c_str(), O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
    environment.push_back("TMPDIR=" + (directory_ / "tmp").string());
    start(std::move(program), pair[1], log, environment);
    ::close(pair[1]);
    ::close(log);
  }

  ~InitUnderTest() {
    hang_up();
    if (pid_ > 0) ::waitpid(pid_, nullptr, 0);
    std::filesystem::remove_all(directory_);
  }

  void send(const ToInit& message) {
    auto line = to_line(message);
    ASSERT_EQ(::send(control_, line.data(), line.size(), MSG_NOSIGNAL), static_cast<ssize_t>(line.size()));
  }
  void send_raw(std::string_view text) { ASSERT_EQ(::send(control_, text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size())); }

  /// The next message; nothing when init has hung up or is silent for too long.
  std::optional<FromInit> next() {
    for (;;) {
      if (auto end = incoming_.find('\n'); end != incoming_.npos) {
        auto message = from_init_from(std::string_view(incoming_).substr(0, end));
        incoming_.erase(0, end + 1);
        if (!message) {
          ADD_FAILURE() << message.error().message;
          return std::nullopt;
        }
        return *std::move(message);
      }
      pollfd p{control_, POLLIN, 0};
      char buffer[65536];
      if (::poll(&p, 1, 60'000) != 1) return std::nullopt;
      auto n = ::read(control_, buffer, sizeof buffer);
      if (n <= 0) return std::nullopt;
      incoming_.append(buffer, static_cast<std::size_t>(n));
    }
  }

  /// Keeps the steps' states as they come, answers questions with `answer`, until init is done.
  std::optional<InitDone> done(std::function<ConditionAnswer(const AskCondition&)> answer = {}) {
    while (auto message = next()) {
      if (auto* change = std::get_if<StepChange>(&*message)) note(*change);
      else if (auto* ask = std::get_if<AskCondition>(&*message)) send(answer ? answer(*ask) : ConditionAnswer{.step = ask->step, .run = true});
      else return std::get<InitDone>(*message);
    }
    ADD_FAILURE() << "init ended without a last word";
    return std::nullopt;
  }

  /// Waits until step `i` has `status`.
  void wait_for(std::size_t i, StepStatus status) {
    while (i >= states_.size() || states_[i].status != status) {
      auto message = next();
      ASSERT_TRUE(message) << "step " << i << " never was " << to_string(status);
      if (auto* change = std::get_if<StepChange>(&*message)) note(*change);
    }
  }

  /// Waits until the log holds `text`.
  void wait_for_log(std::string_view text) {
    for (int i = 0; i < 6000; ++i, ::usleep(10'000))
      if (log().find(text) != std::string::npos) return;
    FAIL() << "the log never said '" << text << "' but:\n" << log();
  }

  /// Waits for init itself to end; its exit code.
  int exit_code() {
    int status = 0;
    EXPECT_EQ(::waitpid(pid_, &status, 0), pid_);
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

  void hang_up() {
    if (control_ >= 0) ::close(control_);
    control_ = -1;
  }

  std::vector<LoggedFrame> frames() const {
    std::ifstream in(directory_ / "log", std::ios::binary);
    std::string bytes{std::istreambuf_iterator<char>(in), {}};
    std::vector<LoggedFrame> out;
    for (std::string_view rest = bytes; !rest.empty();) {
      auto got = decode_frame(rest);
      if (!got) ADD_FAILURE() << got.error().message;
      if (!got || got->size == 0) break;
      out.push_back({got->frame.offset, got->frame.step, got->frame.stream, std::string(got->frame.text)});
      rest.remove_prefix(got->size);
    }
    return out;
  }

  std::string log() const {
    std::string out;
    for (auto& frame : frames()) {
      EXPECT_EQ(frame.offset, static_cast<std::int64_t>(out.size()));
      out += frame.text;
    }
    return out;
  }

  const std::vector<StepState>& states() const { return states_; }
  std::filesystem::path workspace() const { return directory_ / "workspace"; }
  std::filesystem::path tmp() const { return directory_ / "tmp"; }
  pid_t pid() const { return pid_; }

 private:
  void note(const StepChange& change) {
    auto i = static_cast<std::size_t>(change.step);
    if (states_.size() <= i) states_.resize(i + 1);
    states_[i] = change.state;
  }

  void start(std::string program, int control, int log, const std::vector<std::string>& environment) {
    auto c = std::to_string(control), l = std::to_string(log), w = workspace().string();
    std::vector<const char*> argv{program.c_str(), "--control-fd", c.c_str(), "--log-fd", l.c_str(), "--workspace", w.c_str(), nullptr};
    std::vector<const char*> envp;
    for (auto& variable : environment) envp.push_back(variable.c_str());
    envp.push_back(nullptr);
    pid_ = ::fork();
    ASSERT_GE(pid_, 0);
    if (pid_ != 0) return;
    ::fcntl(control, F_SETFD, 0);
    ::fcntl(log, F_SETFD, 0);
    ::execve(program.c_str(), const_cast<char* const*>(argv.data()), const_cast<char* const*>(envp.data()));
    ::_exit(127);
  }

  std::filesystem::path directory_;
  int control_ = -1;
  pid_t pid_ = -1;
  std::string incoming_;
  std::vector<StepState> states_;
};

/// No process has `marker` in its command line any more.
inline bool nobody_runs(std::string_view marker) {
  for (auto& entry : std::filesystem::directory_iterator("/proc")) {
    std::ifstream in(entry.path() / "cmdline", std::ios::binary);
    std::string line{std::istreambuf_iterator<char>(in), {}};
    if (line.find(marker) != line.npos) return false;
  }
  return true;
}

}  // namespace mayfly
