#include "cli/process_world.h"

#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "cli/terminal.h"

namespace mayfly::cli {
namespace {

void write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    auto n = ::write(fd, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;  // a reader that is gone: SIGPIPE has ended us, or nobody can be told
    text.remove_prefix(std::size_t(n));
  }
}

std::optional<std::string> from_environment(std::string_view name) {
  auto* value = std::getenv(std::string(name).c_str());
  return value ? std::optional<std::string>(value) : std::nullopt;
}

bool is_terminal(int fd) { return ::isatty(fd) == 1 && from_environment("TERM").value_or("") != "dumb"; }

class ProcessConsole final : public Console {
 public:
  ProcessConsole() : terminal_(is_terminal(STDOUT_FILENO)), colour_(terminal_ && from_environment("NO_COLOR").value_or("").empty()) {}
  void out(std::string_view text) override { write_all(STDOUT_FILENO, text); }
  void err(std::string_view text) override { write_all(STDERR_FILENO, text); }
  bool colour() const override { return colour_; }
  bool terminal() const override { return terminal_; }
  int width() const override { return size().ws_col > 0 ? size().ws_col : 80; }
  int height() const override { return size().ws_row > 0 ? size().ws_row : 24; }

 private:
  static winsize size() {
    winsize size{};
    ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
    return size;
  }

  bool terminal_;
  bool colour_;
};

/// No echo on a terminal, for as long as this lives.
class Silence final {
 public:
  Silence() : active_(::tcgetattr(STDIN_FILENO, &before_) == 0) {
    if (!active_) return;
    auto silent = before_;
    silent.c_lflag &= ~tcflag_t(ECHO);
    ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent);
  }
  ~Silence() {
    if (active_) ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &before_);
  }
  Silence(const Silence&) = delete;
  Silence& operator=(const Silence&) = delete;
  bool active() const { return active_; }

 private:
  termios before_{};
  bool active_;
};

Result<std::string> read_standard_input(std::string_view prompt, std::size_t max_bytes) {
  Silence silence;
  if (silence.active()) write_all(STDERR_FILENO, prompt);
  std::string text;
  char buffer[4096];
  while (true) {
    auto n = ::read(STDIN_FILENO, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(Errc::invalid, std::string("standard input cannot be read: ") + std::strerror(errno));
    if (n == 0) break;
    text.append(buffer, std::size_t(n));
    if (text.size() > max_bytes) return fail(Errc::too_large, "standard input is longer than " + std::to_string(max_bytes) + " bytes");
    if (silence.active() && text.back() == '\n') break;  // a terminal hands over a line at a time
  }
  if (silence.active()) write_all(STDERR_FILENO, "\n");
  return text;
}

}  // namespace

ProcessWorld::ProcessWorld()
    : console_(std::make_unique<ProcessConsole>()), world_(new World{*console_, from_environment, ".", read_standard_input, make_terminal}) {}
ProcessWorld::~ProcessWorld() = default;

}  // namespace mayfly::cli
