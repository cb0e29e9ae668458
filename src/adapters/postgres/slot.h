#pragma once
// A place for one connection of a pool. While it is empty it is filled again, after pauses that grow, for ever.

#include <functional>
#include <memory>
#include <string>

#include "adapters/postgres/connector.h"
#include "adapters/postgres/link.h"

namespace mayfly::postgres {

class Slot final : public std::enable_shared_from_this<Slot> {
 public:
  using Clock = Link::Clock;

  /// `on_change` comes when a connection is there, when one was lost, and after each try that failed.
  static std::shared_ptr<Slot> make(Loop loop, Connector& connector, SessionSettings settings, std::function<void()> on_change);
  ~Slot();

  /// Starts with a connection that is there already, or by connecting.
  void start(ConnectionPtr connection = nullptr);
  /// Closes the connection, and nothing comes of this slot any more.
  void stop();

  /// None while there is no connection.
  const std::shared_ptr<Link>& link() const { return link_; }
  /// Since when there is none; `why` is what the last try said.
  Clock::time_point down_since() const { return down_since_; }
  const Error& why() const { return why_; }

 private:
  struct Pause;

  Slot(Loop loop, Connector& connector, SessionSettings settings, std::function<void()> on_change);
  void connect();
  void fill(ConnectionPtr connection);
  void lost(const Error& why);
  void try_later(Error why);

  Loop loop_;
  Connector& connector_;
  const SessionSettings settings_;
  std::function<void()> on_change_;
  std::shared_ptr<Link> link_;
  std::unique_ptr<Pause> pause_;
  Clock::time_point down_since_ = Clock::now();
  Error why_{Errc::unavailable, "database: not connected yet", {}};
  std::chrono::milliseconds next_pause_{};
  bool stopped_ = false;
};

}  // namespace mayfly::postgres
