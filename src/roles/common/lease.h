#pragma once
// One active process where there may be only one, and a warm one beside it. The holder's beat moves while it lives; who
// waits takes the lease when the beat has stood still for a while by its own clock, so no two clocks need to agree. Each
// taking raises the epoch; what a leader stores stands or falls with still_ours(), so one that was paused and wakes up
// late changes nothing.

#include <cstdint>
#include <functional>
#include <string>

#include "async/scope.h"
#include "ports/clock.h"
#include "ports/database.h"

namespace mayfly {

inline constexpr Duration lease_beat = std::chrono::milliseconds(300);
inline constexpr Duration lease_stolen_after = std::chrono::milliseconds(1300);   // of a beat that does not move
inline constexpr Duration lease_given_up_after = std::chrono::milliseconds(1000); // of beats that cannot be stored

struct Leadership {
  std::string name;
  std::int64_t epoch = 0;

  /// Fails its unit with Errc::conflict once somebody else has the lease.
  Statement still_ours() const;
};

class Lease final {
 public:
  /// `holder` is this process and no other, ever.
  Lease(Database& db, Clock& clock, Loop loop, std::string name, std::string holder);

  /// Until canceled: waits for the lease, runs `work` while it is ours, cancels it when it is not, and waits again.
  Task<void> hold(std::function<Task<void>(Leadership)> work);

  /// Takes it at once, whoever has it: for a process that is known to be alone.
  Task<Result<Leadership>> take();

  /// Gives it back, so that the next need not wait; nothing if it is not ours.
  Task<void> release();

 private:
  Task<Leadership> acquire();
  Task<Result<bool>> try_acquire(Duration patience);
  Task<void> keep();

  Database& db_;
  Clock& clock_;
  Loop loop_;
  std::string name_, holder_;
  std::int64_t epoch_ = 0;      // of our holding; 0: not ours
  std::int64_t seen_epoch_ = -1, seen_beat_ = -1;
  Time seen_since_{};
  Scope* working_ = nullptr;
};

}  // namespace mayfly
