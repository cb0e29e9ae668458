#pragma once
// A queue of units before one connection for writing. Nothing runs in the background: the first caller leads, its batch takes
// along whoever waits, and once its own unit is answered it hands the lead to the next. Units about the same thing go down the
// same lane, and a batch goes through its things in order, so that sessions rarely wait for one another's rows, and hardly
// ever in a ring.

#include <deque>

#include "adapters/postgres/group_commit.h"
#include "adapters/postgres/slot.h"

namespace mayfly::postgres {

/// Of what waits in all lanes together.
struct WriteQueue {
  const std::size_t max_units;
  const std::size_t max_bytes;
  std::size_t units = 0;
  std::size_t bytes = 0;
};

class Lane final {
 public:
  /// `patience`: how long a unit waits for a connection.
  Lane(Loop loop, Connector& connector, SessionSettings settings, WriteQueue& limits, std::chrono::milliseconds patience);
  ~Lane();

  /// Comes back when the unit is answered: Errc::unavailable when too many wait.
  Task<void> commit(Unit& unit);
  std::size_t waiting() const { return queue_.size(); }
  Slot& slot() { return *slot_; }
  /// Who waits for a connection looks whether it still wants to.
  void look_again();

  /// What a unit is about: the first text that it is given, mostly an id.
  static std::string_view key_of(const std::vector<Statement>& statements);

 private:
  bool push(Unit& unit);
  Task<void> lead(Unit& unit);
  GroupCommit::Units take();
  Task<Result<std::shared_ptr<Link>>> connected(Slot::Clock::time_point since);

  WriteQueue& limits_;
  const std::chrono::milliseconds patience_;
  std::shared_ptr<Slot> slot_;
  GroupCommit group_;
  std::deque<Unit*> queue_;
  bool led_ = false;
  Done slot_changed_;
};

}  // namespace mayfly::postgres
