#include "domain/access/gcra.h"

#include <algorithm>
#include <charconv>
#include <string>

namespace mayfly {
namespace {

/// Takes a number off the front of the text.
bool take_number(std::string_view& text, std::int64_t& value) {
  auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (ec != std::errc{}) return false;
  text.remove_prefix(std::size_t(end - text.data()));
  return true;
}

bool take(std::string_view& text, std::string_view word) {
  if (!text.starts_with(word)) return false;
  text.remove_prefix(word.size());
  return true;
}

}  // namespace

Result<Rate> parse_rate(std::string_view text) {
  auto wrong = fail(Errc::invalid, "'" + std::string(text) + "' is not a rate", "a rate is written like '50/s burst 500'; s, min or h");
  constexpr std::pair<std::string_view, Duration> units[] = {{"/s ", std::chrono::seconds{1}}, {"/min ", std::chrono::minutes{1}}, {"/h ", std::chrono::hours{1}}};
  std::int64_t count = 0;
  Rate rate;
  if (!take_number(text, count) || count < 1) return wrong;
  auto unit = std::ranges::find_if(units, [&](auto& u) { return take(text, u.first); });
  if (unit == std::end(units) || !take(text, "burst ") || !take_number(text, rate.burst) || !text.empty()) return wrong;
  rate.each = unit->second / count;
  TRY(check_rate(rate, 1));
  return rate;
}

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
