#include "cli/terminal.h"

#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <optional>

#include "async/scope.h"

namespace mayfly::cli {

namespace asio = boost::asio;

namespace {

constexpr auto await = asio::as_tuple(asio::use_awaitable);
constexpr std::size_t write_bytes = 4096;   // what a writable pipe takes at once
constexpr std::array crashes{SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL};

termios cooked_mode;   // of the terminal that is raw now; for a crash

void restore_and_die(int signal) {
  ::tcsetattr(STDIN_FILENO, TCSANOW, &cooked_mode);
  ::signal(signal, SIG_DFL);
  ::raise(signal);
}

/// Whether poll can wait for it; files are always ready, and epoll refuses them.
bool can_wait_for(int fd) {
  struct stat info;
  return ::fstat(fd, &info) == 0 && !S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode) && (S_ISFIFO(info.st_mode) || S_ISSOCK(info.st_mode) || ::isatty(fd) == 1);
}

class ProcessTerminal final : public Terminal {
 public:
  explicit ProcessTerminal(Loop loop)
      : sizes_(loop, SIGWINCH), ends_(loop, SIGTERM, SIGHUP), interactive_(::isatty(STDIN_FILENO) == 1 && ::isatty(STDOUT_FILENO) == 1) {
    for (int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
      if (can_wait_for(fd)) ready_[std::size_t(fd)].emplace(loop, ::dup(fd));
  }

  ~ProcessTerminal() override {
    if (!raw_) return;
    ::tcsetattr(STDIN_FILENO, TCSADRAIN, &cooked_mode);
    for (int signal : crashes) ::signal(signal, SIG_DFL);
  }

  bool interactive() const override { return interactive_; }

  ShellSize size() const override {
    winsize w{};
    ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &w);
    ShellSize size;
    if (w.ws_col > 0) size.columns = std::min<int>(w.ws_col, max_terminal_side);
    if (w.ws_row > 0) size.rows = std::min<int>(w.ws_row, max_terminal_side);
    return size;
  }

  std::string name() const override {
    auto* term = std::getenv("TERM");
    return term ? term : "";
  }

  void raw() override {
    if (raw_ || !interactive_ || ::tcgetattr(STDIN_FILENO, &cooked_mode) != 0) return;
    auto mode = cooked_mode;
    ::cfmakeraw(&mode);
    for (int signal : crashes) ::signal(signal, restore_and_die);
    raw_ = ::tcsetattr(STDIN_FILENO, TCSADRAIN, &mode) == 0;
  }

  Task<std::string> read() override {
    std::string buffer(max_shell_piece_bytes, '\0');
    for (;;) {
      co_await is_ready(STDIN_FILENO, asio::posix::stream_descriptor::wait_read);
      auto n = ::read(STDIN_FILENO, buffer.data(), buffer.size());
      if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
      buffer.resize(n > 0 ? std::size_t(n) : 0);
      co_return buffer;
    }
  }

  Task<Result<void>> write(ShellStream stream, std::string bytes) override {
    int fd = stream == ShellStream::err ? STDERR_FILENO : STDOUT_FILENO;
    for (std::string_view left = bytes; !left.empty();) {
      co_await is_ready(fd, asio::posix::stream_descriptor::wait_write);
      auto n = ::write(fd, left.data(), std::min(left.size(), write_bytes));
      if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
      if (n <= 0) co_return fail(Errc::unavailable, "the output cannot be written");
      left.remove_prefix(std::size_t(n));
    }
    co_return Result<void>{};
  }

  Task<void> resized() override {
    (void)co_await sizes_.async_wait(await);
    co_await throw_if_canceled();
  }

  Task<int> interrupted() override {
    auto [ec, signal] = co_await ends_.async_wait(await);
    co_await throw_if_canceled();
    co_return signal;
  }

 private:
  Task<void> is_ready(int fd, asio::posix::stream_descriptor::wait_type what) {
    auto& descriptor = ready_[std::size_t(fd)];
    if (descriptor) (void)co_await descriptor->async_wait(what, await);
    co_await throw_if_canceled();
  }

  asio::signal_set sizes_;
  asio::signal_set ends_;
  bool interactive_;
  bool raw_ = false;
  std::array<std::optional<asio::posix::stream_descriptor>, 3> ready_;   // copies: the descriptors themselves stay as they are
};

}  // namespace

std::unique_ptr<Terminal> make_terminal(Loop loop) { return std::make_unique<ProcessTerminal>(std::move(loop)); }

}  // namespace mayfly::cli
