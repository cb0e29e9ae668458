#pragma once
// A connection used by a thread that may wait: connecting, setting up, migrations. Every wait has a deadline and can be broken
// off from another thread.

#include <chrono>
#include <memory>
#include <string>

#include "adapters/postgres/errors.h"
#include "ports/database.h"

struct pg_conn;

namespace mayfly::postgres {

struct Finish {
  void operator()(pg_conn* connection) const;
};
using ConnectionPtr = std::unique_ptr<pg_conn, Finish>;

/// Breaks off the waits of another thread, now and from now on.
class Interrupt final {
 public:
  Interrupt();
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;
  void raise();
  int fd() const { return fd_; }

 private:
  int fd_;
};

class Session final {
 public:
  using Clock = std::chrono::steady_clock;

  /// Follows the URL's own parameters (hosts, TLS, timeouts) and fills in ours where it has none. Errc::invalid: it is no URL
  /// of libpq's; Errc::unavailable: no server let us in by the deadline.
  static Result<Session> connect(const std::string& url, const Interrupt* interrupt, Clock::time_point deadline);

  /// Runs a script, or one statement with parameters; the rows of its last statement. Errc::timeout past the deadline.
  Result<Rows> run(const std::string& sql, const std::vector<Value>& params = {});

  void set_deadline(Clock::time_point at) { deadline_ = at; }
  ConnectionPtr release() { return std::move(connection_); }

 private:
  Session(ConnectionPtr connection, const Interrupt* interrupt, Clock::time_point deadline)
      : connection_(std::move(connection)), interrupt_(interrupt), deadline_(deadline) {}
  Result<void> wait(bool for_write);
  Result<void> finish_connecting();

  ConnectionPtr connection_;
  const Interrupt* interrupt_;
  Clock::time_point deadline_;
};

/// How a session of the pool behaves.
struct SessionSettings {
  bool reads_only = false;
  std::chrono::milliseconds statement_timeout{};
  std::chrono::milliseconds lock_timeout{};
  std::chrono::milliseconds idle_in_transaction_timeout{};
};

/// Connects and sets up, within `timeout`.
Result<ConnectionPtr> connect(const std::string& url, const SessionSettings& settings, const Interrupt* interrupt,
                              std::chrono::milliseconds timeout);

}  // namespace mayfly::postgres
