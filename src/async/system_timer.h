#pragma once
// Timers on the machine's own clock.

#include <memory>

#include "async/timer.h"

namespace mayfly {

std::unique_ptr<TimerSource> make_system_timers(Loop loop);

}  // namespace mayfly
