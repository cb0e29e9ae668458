#pragma once
// Brings the log from the file to the server as it grows. The server says what it wants next: after it was restarted, or lost
// something on its way to storage, that may lie behind what was sent. That can turn out as late as with the attempt's end:
// lacks().
//
// Where another shipper brings it (LogLines), ours only writes the lines for that one, until the log's end: then it brings what is
// not there yet.

#include <optional>

#include "async/scope.h"
#include "async/signal.h"
#include "runner/sidecar/api.h"
#include "runner/sidecar/log_file.h"
#include "runner/sidecar/log_lines.h"

namespace mayfly {

inline constexpr Duration log_ship_interval = std::chrono::milliseconds(20);   // between requests while much is said
inline constexpr Duration log_look_interval = std::chrono::seconds(1);         // in case nobody tells of a write
inline constexpr Duration log_bytes_at_risk = std::chrono::milliseconds(250);  // said and not shipped yet: what a dead machine may cost
static_assert(log_ship_interval <= log_bytes_at_risk);
inline constexpr Duration log_doubt_interval = std::chrono::seconds(8);        // nothing said, and not all durable: then it asks what is missing

class LogShipper final {
 public:
  /// All outlive this.
  LogShipper(RunnerApi& api, LogFile& file, Clock& clock) : api_(api), file_(file), clock_(clock) {}

  /// Another shipper brings the log, from this file. Before run().
  void leave_to(LogLines lines) { lines_ = std::move(lines); }
  /// The file has grown.
  void look() { wake_.notify(); }
  /// Nothing more will be written.
  void end();
  /// Heard elsewhere: the server will not ask for what is before `offset`.
  void durable(std::int64_t offset);

  /// Returns when end() was called and the server has all of it. Errors: those of RunnerApi::logs and LogFile::next.
  Task<Result<void>> run();
  /// After run(), when the server says that it has not got all: goes back to what it wants, or to what is durable. Then run()
  /// again. False: all is durable.
  Task<Result<bool>> lacks();

  /// When the server had its first byte, if it came by us.
  std::optional<Time> first_byte_at() const { return first_byte_at_; }
  /// The log's length, once run() has returned.
  std::int64_t length() const { return file_.position(); }

 private:
  Task<Result<void>> ship(LogBatch batch);
  Task<Result<void>> take_over();
  Task<Result<void>> ask();
  Task<Result<void>> ask_when_in_doubt();

  RunnerApi& api_;
  LogFile& file_;
  Clock& clock_;
  Signal wake_;                  // something may be there to ship
  Signal over_;                  // ended: no reason to gather more
  bool ended_ = false;
  std::int64_t durable_ = 0;
  std::optional<LogLines> lines_;   // while another shipper brings the log
  int refused_ = 0;              // answers in a row that brought us nothing
  std::optional<Time> first_byte_at_;
  Time answered_{};              // when the server last said what it wants
};

}  // namespace mayfly
