#include "cli/shell_session.h"

#include <algorithm>

#include "async/scope.h"
#include "async/signal.h"
#include "cli/escape.h"

namespace mayfly::cli {
namespace {

constexpr std::int64_t tell_after = shell_window_bytes / 4;   // of output taken

class ShellSession final {
 public:
  ShellSession(Session& session, Terminal& terminal, ShellOptions options)
      : session_(session), terminal_(terminal), options_(std::move(options)), tty_(terminal.interactive() && !options_.plain) {}

  Task<Result<ShellOutcome>> run() {
    auto used = co_await session_.api.shell(options_.job_id, options_.attempt, [this](http::WebSocket& socket) { return talk(socket); });
    if (!used) co_return std::unexpected(used.error());
    co_return std::move(outcome_);
  }

 private:
  Task<void> talk(http::WebSocket& socket) {
    ShellOpen open{.wish = {.tty = tty_, .size = terminal_.size(), .term = terminal_.name(), .command = options_.command}};
    if (!co_await say(socket, open)) co_return;
    if (tty_) terminal_.raw();
    Scope all(session_.loop);
    all.spawn(listen(socket, all));
    all.spawn(type(socket, all));
    all.spawn(end_when_interrupted(all));
    if (tty_) all.spawn(tell_sizes(socket));
    co_await all.join();
    if (!ended_ && socket.closed() && !socket.closed()->reason.empty()) outcome_.detail = socket.closed()->reason;
  }

  static Task<Result<void>> say(http::WebSocket& socket, ShellWord word) {
    auto frame = to_frame(word);
    co_return co_await socket.send({.text = frame.text, .bytes = std::move(frame.bytes)});
  }

  Task<void> listen(http::WebSocket& socket, Scope& all) {
    std::int64_t taken = 0, told = 0;
    outcome_.detail = "the connection to the server is lost";
    for (;;) {
      auto message = co_await socket.receive();
      if (!message) break;
      auto word = shell_word_from({message->text, std::move(message->bytes)});
      if (!word) {
        outcome_.detail = "the server said what this program does not know: " + word.error().message;
        break;
      }
      if (auto* data = std::get_if<ShellData>(&*word)) {
        taken += std::int64_t(data->bytes.size());
        if (!co_await terminal_.write(data->stream, std::move(data->bytes))) {
          outcome_.detail = "the output cannot be written";
          break;
        }
        if (taken - told >= tell_after) {
          told = taken;
          if (!co_await say(socket, ShellBytesTaken{taken})) break;
        }
      } else if (auto* count = std::get_if<ShellBytesTaken>(&*word)) {
        acknowledged_ = std::max(acknowledged_, count->bytes);
        room_.notify();
      } else if (auto* exit = std::get_if<ShellExit>(&*word)) {
        outcome_.exit_code = exit->code;
        outcome_.detail = exit->detail;
        ended_ = true;
        break;
      }
    }
    all.cancel();
  }

  Task<void> type(http::WebSocket& socket, Scope& all) {
    EscapeFilter escape;
    for (;;) {
      auto keys = co_await terminal_.read();
      bool end = keys.empty();
      if (tty_) keys = escape.feed(keys);
      if (!keys.empty() && !co_await send_input(socket, std::move(keys))) co_return;
      if (escape.detached()) {
        outcome_ = {.detail = "", .detached = true};
        ended_ = true;
        co_return all.cancel();
      }
      if (end) {
        (void)co_await say(socket, ShellInputEnd{});
        co_return;
      }
    }
  }

  Task<bool> send_input(http::WebSocket& socket, std::string keys) {
    for (std::string_view left = keys; !left.empty();) {
      auto room = shell_window_bytes - (sent_ - acknowledged_);
      if (room <= 0) {
        co_await room_.wait(session_.clock);
        continue;
      }
      auto piece = left.substr(0, std::min(std::size_t(room), max_shell_piece_bytes));
      left.remove_prefix(piece.size());
      sent_ += std::int64_t(piece.size());
      if (!co_await say(socket, ShellData{ShellStream::in, std::string(piece)})) co_return false;
    }
    co_return true;
  }

  Task<void> tell_sizes(http::WebSocket& socket) {
    for (;;) {
      co_await terminal_.resized();
      if (!co_await say(socket, terminal_.size())) co_return;
    }
  }

  Task<void> end_when_interrupted(Scope& all) {
    auto signal = co_await terminal_.interrupted();
    outcome_ = {.exit_code = 128 + signal, .detail = {}};
    ended_ = true;
    all.cancel();
  }

  Session& session_;
  Terminal& terminal_;
  ShellOptions options_;
  bool tty_;
  ShellOutcome outcome_;
  bool ended_ = false;
  Signal room_;
  std::int64_t sent_ = 0;
  std::int64_t acknowledged_ = 0;
};

}  // namespace

Task<Result<ShellOutcome>> open_shell(Session& session, Terminal& terminal, ShellOptions options) {
  ShellSession shell(session, terminal, std::move(options));
  co_return co_await shell.run();
}

int conclude(Session& session, const ShellOutcome& outcome) {
  if (outcome.exit_code) return *outcome.exit_code;
  if (outcome.detached) {
    session.world.console.err("mayfly: the shell was left.\n");
    return done;
  }
  session.world.console.err("mayfly: the shell ended: " + harmless(outcome.detail) + "\n");
  return broken_off;
}

}  // namespace mayfly::cli
