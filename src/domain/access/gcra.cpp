#include "domain/access/gcra.h"

#include <algorithm>

namespace mayfly {

Result<void> check_rate(Rate rate, std::int64_t cost) {
  if (rate.burst < 1 || rate.burst > max_burst || rate.each < Duration{1} || rate.each > max_burst_time / rate.burst)
    return fail(Errc::invalid, "a rate of " + std::to_string(rate.burst) + " at once and one each " + std::to_string(rate.each.count()) + " µs is outside the limits");
  if (cost < 1 || cost > rate.burst)
    return fail(Errc::invalid, "a cost of " + std::to_string(cost) + " where at most " + std::to_string(rate.burst) + " come at once");
  return {};
}

GcraStep gcra(Rate rate, std::int64_t cost, Time instant, Time now) {
  auto room = rate.burst * rate.each;
  auto used = std::clamp(instant - now, Duration{0}, Duration{room});
  auto wanted = used + cost * rate.each;
  if (wanted > room) return {{false, wanted - room, (room - used) / rate.each}, now + used};
  return {{true, Duration{0}, (room - wanted) / rate.each}, now + wanted};
}

}  // namespace mayfly
