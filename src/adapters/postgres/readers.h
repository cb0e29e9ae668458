#pragma once
// Connections for reading, shared by whoever asks: each takes several questions at a time, answered in their order.

#include <deque>
#include <memory>
#include <vector>

#include "adapters/postgres/slot.h"
#include "async/completion.h"

namespace mayfly::postgres {

struct Read {
  const Statement& statement;
  Result<Rows> result{};
  Done done{};
  Exchange exchange{};
  std::size_t tries = 0;
  Slot::Clock::time_point since = Slot::Clock::now();
};

class Readers final {
 public:
  Readers(Loop loop, Connector& connector, SessionSettings settings, unsigned connections, std::size_t max_waiting, std::chrono::milliseconds patience);
  ~Readers();

  /// False when too many wait. `read` stays the caller's, until its `done`.
  bool ask(Read& read);
  std::vector<std::shared_ptr<Slot>>& slots() { return slots_; }
  /// Those who have waited too long for a connection are told so.
  void look_again() { pump(); }

 private:
  void pump();
  Link* least_busy() const;
  void send(Link& link, Read& read);
  void answered(Read& read);
  void answer(Read& read, Result<Rows> result);
  void refuse_the_impatient();

  const std::size_t max_waiting_;
  const std::chrono::milliseconds patience_;
  std::vector<std::shared_ptr<Slot>> slots_;
  std::deque<Read*> waiting_;
};

}  // namespace mayfly::postgres
