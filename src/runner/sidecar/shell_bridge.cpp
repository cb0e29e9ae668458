#include "runner/sidecar/shell_bridge.h"

#include "base/log.h"

namespace mayfly {
namespace {

constexpr std::size_t max_known_shells = 1000;   // of an attempt

http::WebSocketMessage message_of(ShellFrame frame) { return {.text = frame.text, .bytes = std::move(frame.bytes)}; }

struct EndsBoth {
  Scope& both;
  ~EndsBoth() { both.cancel(); }
};

}  // namespace

void ShellBridge::want(const std::vector<std::string>& shells) {
  for (auto& shell : shells) {
    if (over_ || known_.size() >= max_known_shells || scope_.size() >= 2 * max_shells_per_job || !known_.insert(shell).second) continue;
    scope_.spawn(serve(shell));
  }
}

void ShellBridge::job_runs() {
  running_ = true;
  changed_.notify();
}

void ShellBridge::job_ended() {
  running_ = false;
  over_ = true;
  for (auto& [number, shell] : shells_) {
    if (!shell->ended) shell->ended = ShellEnded{.shell = number, .detail = "the job has ended"};
    shell->moved.notify();
  }
  changed_.notify();
}

ShellBridge::Shell* ShellBridge::find(std::int64_t number) {
  auto at = shells_.find(number);
  return at == shells_.end() ? nullptr : at->second.get();
}

bool ShellBridge::take(ShellOutput output) {
  if (output.shell < 1 || output.shell > last_number_) return false;
  auto* shell = find(output.shell);
  if (!shell || shell->ended) return true;
  shell->sent += static_cast<std::int64_t>(output.bytes.size());
  if (output.bytes.empty() || shell->sent - shell->acknowledged > shell_window_bytes) return false;
  shell->frames.push_back(to_frame(ShellData{output.stream, std::move(output.bytes)}));
  shell->moved.notify();
  return true;
}

bool ShellBridge::take(const ShellTaken& taken) {
  if (taken.shell < 1 || taken.shell > last_number_) return false;
  auto* shell = find(taken.shell);
  if (!shell || shell->ended) return true;
  auto frame = to_frame(ShellBytesTaken{taken.bytes});
  // It is a level: the last one says all.
  if (!shell->frames.empty() && shell->frames.back().text) shell->frames.back() = std::move(frame);
  else shell->frames.push_back(std::move(frame));
  shell->moved.notify();
  return true;
}

bool ShellBridge::take(ShellEnded ended) {
  if (ended.shell < 1 || ended.shell > last_number_) return false;
  if (auto* shell = find(ended.shell); shell && !shell->ended) {
    shell->ended = std::move(ended);
    shell->moved.notify();
  }
  return true;
}

Task<void> ShellBridge::finish(Time until) {
  job_ended();
  while (scope_.size() > 0 && clock_.now() < until) co_await changed_.wait(clock_, until);
  scope_.cancel();
  co_await scope_.join();
}

Task<bool> ShellBridge::can_open() {
  while (!running_ && !over_) co_await changed_.wait(clock_);
  co_return running_;
}

Task<void> ShellBridge::serve(std::string id) {
  struct Left {
    Signal& changed;
    ~Left() { changed.notify(); }
  } left{changed_};
  auto number = ++last_number_;
  auto& shell = *shells_.emplace(number, std::make_unique<Shell>()).first->second;
  shell.number = number;
  auto began = clock_.now();
  auto used = co_await api_.shell(id, [this, &shell](http::WebSocket& socket) { return talk(socket, shell); });
  if (!used) log_warn("a shell's connection to the server could not be made", {{"shell", id}, {"error", used.error().message}});
  auto open_for = clock_.now() - began;
  ShellReport report{.detail = used ? "closed" : used.error().message, .open_ms = open_for / std::chrono::milliseconds(1)};
  if (shell.ended) report = {.exit_code = shell.ended->exit_code, .detail = shell.ended->detail.substr(0, 500), .open_ms = report.open_ms};
  shells_.erase(number);
  auto told = co_await api_.shell_ended(id, std::move(report));
  if (!told) log_warn("a shell's end could not be told", {{"shell", id}, {"error", told.error().message}});
}

Task<void> ShellBridge::talk(http::WebSocket& socket, Shell& shell) {
  auto first = co_await socket.receive();
  if (!first) co_return;
  auto word = shell_word_from({first->text, std::move(first->bytes)});
  auto* open = word ? std::get_if<ShellOpen>(&*word) : nullptr;
  if (!open) co_return socket.close_with({static_cast<std::uint16_t>(http::CloseCode::policy), "a shell begins with {\"open\": …}"});
  if (!co_await can_open()) {
    shell.ended = ShellEnded{.shell = shell.number, .detail = "the job has ended"};
  } else {
    link_.send(OpenShell{.shell = shell.number, .who = open->who, .wish = std::move(open->wish)});
  }
  {
    Scope both(loop_);
    both.spawn(bring_down(socket, shell, both));
    both.spawn(bring_up(socket, shell, both));
    co_await both.join();
  }
  if (shell.ended) co_return;
  link_.send(CloseShell{.shell = shell.number});
  auto until = clock_.now() + shell_end_patience;
  while (!shell.ended && clock_.now() < until) co_await shell.moved.wait(clock_, until);
}

Task<void> ShellBridge::bring_up(http::WebSocket& socket, Shell& shell, Scope& both) {
  EndsBoth ends{both};
  for (;;) {
    while (shell.frames.empty() && !shell.ended) co_await shell.moved.wait(clock_);
    if (shell.frames.empty()) break;
    auto frame = std::move(shell.frames.front());
    shell.frames.pop_front();
    if (!co_await socket.send(message_of(std::move(frame)))) co_return;
  }
  (void)co_await socket.send(message_of(to_frame(ShellExit{shell.ended->exit_code, shell.ended->detail})));
}

Task<void> ShellBridge::bring_down(http::WebSocket& socket, Shell& shell, Scope& both) {
  EndsBoth ends{both};
  for (;;) {
    auto message = co_await socket.receive();
    if (!message) co_return;
    auto word = shell_word_from({message->text, std::move(message->bytes)});
    auto handed = word ? hand_down(shell, *std::move(word)) : std::unexpected(word.error());
    if (!handed) co_return socket.close_with({static_cast<std::uint16_t>(http::CloseCode::policy), handed.error().message});
  }
}

Result<void> ShellBridge::hand_down(Shell& shell, ShellWord word) {
  if (shell.ended) return {};
  if (auto* data = std::get_if<ShellData>(&word)) {
    link_.send(ShellInput{.shell = shell.number, .bytes = std::move(data->bytes)});
  } else if (std::holds_alternative<ShellInputEnd>(word)) {
    link_.send(ShellInput{.shell = shell.number, .end = true});
  } else if (auto* size = std::get_if<ShellSize>(&word)) {
    link_.send(ShellResize{.shell = shell.number, .size = *size});
  } else if (auto* taken = std::get_if<ShellBytesTaken>(&word)) {
    if (taken->bytes < shell.acknowledged || taken->bytes > shell.sent) return fail(Errc::invalid, "'taken' counts what was not sent");
    shell.acknowledged = taken->bytes;
    link_.send(ShellTaken{.shell = shell.number, .bytes = taken->bytes});
  } else {
    return fail(Errc::invalid, "this message goes the other way, or came twice");
  }
  return {};
}

}  // namespace mayfly
