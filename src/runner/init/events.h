#pragma once
// Everything init waits for, in one poll(2): the sidecar's messages, the steps' output, the ends of processes, time. The job's
// course (job.h) is written as a sequence that waits here.

#include <poll.h>
#include <sys/types.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "base/time.h"
#include "runner/control/messages.h"
#include "runner/init/log_writer.h"
#include "runner/init/transport.h"

namespace mayfly {

inline constexpr Duration stop_grace = std::chrono::seconds(10);             // after SIGTERM from outside, and for `finally`: engines have little patience
inline constexpr std::size_t max_control_backlog_bytes = 16 << 20;  // for a sidecar that reads slowly; beyond it counts as gone

/// Now, by a clock that only moves forward, so that time limits hold when somebody sets the machine's.
Time steady_now();

/// Something else that is waited for in the same poll.
class Watched {
 public:
  virtual ~Watched() = default;
  virtual void take(ToInit& message) = 0;
  virtual void add_to(std::vector<pollfd>& fds) = 0;
  /// What became of those it added last.
  virtual void on_poll(std::span<const pollfd> fds) = 0;
  /// After every turn.
  virtual void tick() = 0;
  /// When a tick is needed at the latest.
  virtual Time due() const = 0;
};

class Events final {
 public:
  /// Takes over SIGCHLD, SIGTERM and SIGPIPE of the process. `channel` stays the caller's.
  explicit Events(Channel channel);
  ~Events();
  Events(const Events&) = delete;
  Events& operator=(const Events&) = delete;

  /// Handles what comes until `done()`, true, or `until`, false. When the sidecar is gone it does not return: the job's
  /// processes are killed and this one ends with 1, or with 3 if there was no job.
  bool wait(const std::function<bool()>& done, Time until = Time::max());

  void send(const FromInit& message);
  bool all_sent() const { return outgoing_.empty(); }
  /// The last word is said and nothing of the job runs: stays until a sidecar in another container lets go.
  void await_goodbye();

  /// From here on output goes to `log`.
  void set_log(LogWriter* log) { log_ = log; }
  /// Null: nothing any more.
  void watch(Watched* watched) { watched_ = watched; }
  /// Reads `fd`, and closes it at its end.
  void add_stream(int fd, std::uint16_t step, LogStream stream);
  bool has_streams(std::optional<std::uint16_t> step = std::nullopt) const;

  /// The status waitpid(2) gave for `pid`, once.
  std::optional<int> take_exit(pid_t pid);
  bool has_exited(pid_t pid) const { return exits_.contains(pid); }
  /// Starts to remember the end of `pid`; of others it is only made sure that they are reaped.
  void expect_exit(pid_t pid) { expected_.insert(pid); childless_ = false; }
  /// Nothing below this process runs any more, as of the last end of a process.
  bool childless() const { return childless_; }

  std::optional<InitJob> job;                  // set when it has come
  std::optional<CancelJob> cancel;             // set when it has come; the job's course takes it
  std::optional<ConditionAnswer> answer;       // likewise
  bool release = false;                        // somebody has ended a hold

 private:
  struct Stream {
    int fd;
    std::uint16_t step;
    LogStream stream;
  };
  void turn(Time until);
  void read_control();
  void on_message(std::string_view line);
  void on_signals();
  void reap();
  bool read_stream(Stream& s);
  void write_control();
  [[noreturn]] void sidecar_gone();

  Channel channel_;
  int signals_;
  int log_pipe_;               // -1: the log is a file
  std::string incoming_;
  std::string outgoing_;
  std::vector<Stream> streams_;
  std::vector<char> buffer_;
  std::set<pid_t> expected_;
  std::map<pid_t, int> exits_;
  bool childless_ = true;
  LogWriter* log_ = nullptr;
  Watched* watched_ = nullptr;
};

}  // namespace mayfly
