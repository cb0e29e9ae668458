#pragma once
// Time, chance and ids: the three things that would make a run unrepeatable. The server takes them from the machine, the
// simulator from its seed.

#include <cstdint>
#include <span>

#include "async/timer.h"
#include "base/ids.h"
#include "base/time.h"

namespace mayfly {

class Clock : public TimerSource {
 public:
  virtual Time now() const = 0;
};

class Entropy {
 public:
  virtual ~Entropy() = default;
  /// Fills with bytes fit for keys and tokens.
  virtual void fill(std::span<std::uint8_t> bytes) = 0;
};

template <class T>
T make_id(const Clock& clock, Entropy& entropy) {
  std::array<std::uint8_t, 10> random;
  entropy.fill(random);
  return T{uuid_v7(clock.now(), random)};
}

inline Task<void> sleep_for(Clock& clock, Duration d) {
  auto timer = clock.make_timer();
  co_await timer->wait_until(clock.now() + d);
}

}  // namespace mayfly
