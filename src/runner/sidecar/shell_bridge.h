#pragma once
// The sidecar between init's shells and the gateway they are looked at through: dials out for each that the server wants, and
// hands messages on. What is under way is bounded by the window that both ends keep; who breaks it loses the shell.

#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "async/scope.h"
#include "async/signal.h"
#include "domain/runner/shell.h"
#include "net/websocket.h"
#include "runner/sidecar/api.h"
#include "runner/sidecar/control_link.h"

namespace mayfly {

inline constexpr Duration shell_end_patience = std::chrono::seconds(15);   // for init's word on a shell that is to end

class ShellBridge final {
 public:
  /// All outlive this.
  ShellBridge(Loop loop, RunnerApi& api, ControlLink& link, Clock& clock) : loop_(loop), api_(api), link_(link), clock_(clock), scope_(loop) {}

  /// The server wants these; it may say so more than once.
  void want(const std::vector<std::string>& shells);
  /// Init has the job: shells can be opened.
  void job_runs();
  /// Nothing runs any more: none is opened, and those that are open are over.
  void job_ended();

  /// From init; false: the message is about no shell of ours, or breaks the window.
  bool take(ShellOutput output);
  bool take(const ShellTaken& taken);
  bool take(ShellEnded ended);

  /// Waits until the server knows of every end, or until `until`; then cancels what is left.
  Task<void> finish(Time until);
  /// Ends everything without a word. Then join().
  void cancel() { scope_.cancel(); }
  Task<void> join() { co_await scope_.join(); }

 private:
  struct Shell {
    std::int64_t number = 0;
    std::deque<ShellFrame> frames;      // for whoever looks
    std::int64_t sent = 0;              // bytes of output that came from init
    std::int64_t acknowledged = 0;      // of these, taken by whoever looks
    std::optional<ShellEnded> ended;
    Signal moved;
  };

  Task<void> serve(std::string id);
  Task<void> talk(http::WebSocket& socket, Shell& shell);
  Task<void> bring_up(http::WebSocket& socket, Shell& shell, Scope& both);
  Task<void> bring_down(http::WebSocket& socket, Shell& shell, Scope& both);
  Result<void> hand_down(Shell& shell, ShellWord word);
  Task<bool> can_open();
  Shell* find(std::int64_t number);

  Loop loop_;
  RunnerApi& api_;
  ControlLink& link_;
  Clock& clock_;
  std::set<std::string> known_;
  std::map<std::int64_t, std::unique_ptr<Shell>> shells_;
  std::int64_t last_number_ = 0;
  bool running_ = false;
  bool over_ = false;
  Signal changed_;
  Scope scope_;
};

}  // namespace mayfly
