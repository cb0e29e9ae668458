#pragma once
// Time that passes only when nobody has anything to do: an hour of retries and timeouts runs in milliseconds, and the same
// way every time. TestLoop (support/run.h) drives it.

#include <cstdint>
#include <functional>
#include <map>
#include <utility>

#include "ports/clock.h"

namespace mayfly {

class VirtualClock final : public Clock {
 public:
  explicit VirtualClock(Time start = std::chrono::sys_days{std::chrono::year{2026} / 1 / 1}) : now_(start) {}
  ~VirtualClock() override;

  Time now() const override { return now_; }
  std::unique_ptr<Timer> make_timer() override;

  /// Moves to the earliest timer and ends that wait (of equals, the one that began first); false when none will ever be due.
  bool jump_to_next();
  /// Lets `d` pass at once; timers that became due end in order.
  void advance(Duration d);

 private:
  friend class VirtualTimer;
  using Key = std::pair<Time, std::uint64_t>;  // when, and in which order the waits began

  void end_first_wait();

  Time now_;
  std::uint64_t waits_begun_ = 0;
  std::map<Key, std::move_only_function<void(bool due)>> waiting_;
};

}  // namespace mayfly
