#include "base/time.h"

#include <charconv>
#include <cstdio>

namespace mayfly {
namespace {

using namespace std::chrono;

bool read_int(std::string_view text, std::size_t at, std::size_t digits, int& out) {
  if (at + digits > text.size()) return false;
  auto part = text.substr(at, digits);
  for (char c : part)
    if (c < '0' || c > '9') return false;
  std::from_chars(part.data(), part.data() + part.size(), out);
  return true;
}

std::unexpected<Error> bad_time(std::string_view text) {
  return fail(Errc::invalid, "'" + std::string(text) + "' is not an RFC 3339 time",
              "write it like 2026-01-31T23:59:59Z");
}

struct Unit {
  std::string_view name;
  std::int64_t micros;
};
constexpr Unit units[] = {{"ms", 1'000},           {"us", 1},
                          {"s", 1'000'000},        {"m", 60'000'000},
                          {"h", 3'600'000'000},    {"d", 86'400'000'000},
                          {"w", 7 * 86'400'000'000}};
constexpr std::int64_t longest_duration_us = 100LL * 366 * 86'400'000'000;

}  // namespace

std::string to_rfc3339(Time t) {
  auto day = floor<days>(t);
  year_month_day date{day};
  hh_mm_ss clock{t - day};
  char out[40];
  std::snprintf(out, sizeof out, "%04d-%02u-%02uT%02d:%02d:%02d.%06dZ", int(date.year()), unsigned(date.month()),
                unsigned(date.day()), int(clock.hours().count()), int(clock.minutes().count()),
                int(clock.seconds().count()), int(clock.subseconds().count()));
  return out;
}

Result<Time> parse_rfc3339(std::string_view text) {
  int y, mo, d, h, mi, s;
  if (!read_int(text, 0, 4, y) || !read_int(text, 5, 2, mo) || !read_int(text, 8, 2, d) || !read_int(text, 11, 2, h) ||
      !read_int(text, 14, 2, mi) || !read_int(text, 17, 2, s) || text[4] != '-' || text[7] != '-' ||
      (text[10] != 'T' && text[10] != 't' && text[10] != ' ') || text[13] != ':' || text[16] != ':')
    return bad_time(text);
  year_month_day date{year{y}, month{unsigned(mo)}, day{unsigned(d)}};
  if (!date.ok() || h > 23 || mi > 59 || s > 60) return bad_time(text);
  Time t = sys_days{date} + hours{h} + minutes{mi} + seconds{s};

  std::size_t at = 19;
  if (at < text.size() && text[at] == '.') {
    std::int64_t scale = 100'000;
    for (++at; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at, scale /= 10)
      t += microseconds{(text[at] - '0') * scale};
  }
  auto zone = text.substr(at);
  if (zone == "Z" || zone == "z") return t;
  int zh, zm;
  if (zone.size() != 6 || (zone[0] != '+' && zone[0] != '-') || zone[3] != ':' || !read_int(zone, 1, 2, zh) ||
      !read_int(zone, 4, 2, zm))
    return bad_time(text);
  auto offset = hours{zh} + minutes{zm};
  return zone[0] == '+' ? t - offset : t + offset;
}

Result<Duration> parse_duration(std::string_view text) {
  auto bad = [&] {
    return fail(Errc::invalid, "'" + std::string(text) + "' is not a duration", "write it like 90s, 20m, 1h30m or 14d");
  };
  if (text.empty()) return bad();
  std::int64_t total = 0;
  for (auto rest = text; !rest.empty();) {
    std::int64_t n = 0;
    auto [end, ec] = std::from_chars(rest.data(), rest.data() + rest.size(), n);
    if (ec != std::errc{} || n < 0) return bad();
    rest.remove_prefix(std::size_t(end - rest.data()));
    std::int64_t scale = 0;
    if (rest.empty() && rest.data() == text.data() + text.size() && total == 0) {
      scale = 1'000'000;
    } else {
      for (auto& unit : units)
        if (rest.starts_with(unit.name)) {
          scale = unit.micros;
          rest.remove_prefix(unit.name.size());
          break;
        }
    }
    if (scale == 0 || n > (longest_duration_us - total) / scale) return bad();
    total += n * scale;
  }
  return Duration{total};
}

std::string format_duration(Duration d) {
  auto ms = duration_cast<milliseconds>(d).count();
  if (ms < 1000) return std::to_string(ms) + "ms";
  auto s = ms / 1000;
  if (s < 10) {
    char out[16];
    std::snprintf(out, sizeof out, "%lld.%llds", (long long)s, (long long)(ms % 1000 / 100));
    return out;
  }
  std::string out;
  if (s >= 3600) out += std::to_string(s / 3600) + "h ";
  if (s >= 60) out += std::to_string(s / 60 % 60) + "m ";
  return out + std::to_string(s % 60) + "s";
}

}  // namespace mayfly
