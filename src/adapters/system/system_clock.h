#pragma once
// The machine's own clock: wall time for what is stored and shown, the steady clock for waiting.

#include <memory>

#include "ports/clock.h"

namespace mayfly {

class SystemClock final : public Clock {
 public:
  explicit SystemClock(Loop loop);
  Time now() const override;
  std::unique_ptr<Timer> make_timer() override;

 private:
  std::unique_ptr<TimerSource> timers_;
};

}  // namespace mayfly
