#include "roles/common/rate_limits.h"

#include <algorithm>
#include <charconv>


namespace mayfly {
namespace {

constexpr std::string_view come_again = "come again in ";

std::string shown(Rate rate) {
  return std::to_string(rate.burst) + " at once, then one each " + format_duration(rate.each);
}

}  // namespace

Admission LocalRates::admit(const std::string& key, Rate rate, std::int64_t cost, Time now) {
  if (instants_.size() >= max_local_rates && !instants_.contains(key)) {
    std::erase_if(instants_, [&](auto& entry) { return entry.second <= now; });
    if (instants_.size() >= max_local_rates) instants_.clear();
  }
  auto step = gcra(rate, cost, instants_[key], now);
  instants_[key] = step.next;
  return step.admission;
}

Task<Admission> RateLimits::admit(std::string key, Rate rate) {
  auto asked = co_await cache_.admit(key, rate, 1);
  if (asked) co_return *asked;
  co_return local_.admit(key, rate, 1, clock_.now());
}

std::chrono::seconds RateLimits::retry_after(const Error& error) {
  std::int64_t seconds = 1;
  if (error.hint.starts_with(come_again)) std::from_chars(error.hint.data() + come_again.size(), error.hint.data() + error.hint.size(), seconds);
  return std::chrono::seconds(seconds);
}

Task<Result<void>> RateLimits::check(std::string key, std::optional<Rate> rate, std::string_view whose) {
  if (!rate) co_return Result<void>{};
  auto admission = co_await admit(std::move(key), *rate);
  if (admission.admitted) co_return Result<void>{};
  auto seconds = std::max(std::chrono::seconds{1}, std::chrono::ceil<std::chrono::seconds>(admission.retry_after));
  co_return fail(Errc::rate_limited, "too many requests " + std::string(whose) + ": the limit is " + shown(*rate),
                 std::string(come_again) + std::to_string(seconds.count()) + " s");
}

Task<Result<void>> RateLimits::check_token(std::string token_hash) {
  return check("token:" + token_hash, table_.token, "with this token");
}

Task<Result<void>> RateLimits::check_organization(OrganizationId id) {
  return check("organization:" + id.str(), table_.organization, "about this organization");
}

Task<Duration> RateLimits::delivery_turn(OrganizationId id, bool waited) {
  if (!table_.deliveries) co_return Duration{0};
  auto rate = *table_.deliveries;
  auto key = "deliveries:" + id.str();
  auto now = clock_.now();
  std::erase_if(lines_, [&](auto& line) { return line.second <= now; });
  auto line = lines_.find(key);
  auto first_turn = now;
  if (waited || line == lines_.end()) {
    auto admission = co_await admit(key, rate);
    if (admission.admitted) co_return Duration{0};
    first_turn = now + admission.retry_after;
  }
  auto& last = lines_[key];
  last = std::min(std::max(first_turn, last + rate.each), now + max_delivery_wait);
  co_return last - now;
}

}  // namespace mayfly
