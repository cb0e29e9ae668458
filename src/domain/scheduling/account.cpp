#include "domain/scheduling/account.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace mayfly::scheduling {
namespace {

using Seconds = std::chrono::duration<double>;
constexpr double half_life_s = Seconds(usage_half_life).count();
// The integral of growth over time is growth times this.
constexpr double life_s = half_life_s / std::numbers::ln2;
constexpr int half_lives_before_rebase = 64;

double capacity_of(std::int64_t amount) { return amount > 0 ? double(amount) : 1; }

}  // namespace

double Growth::at(Time t) {
  if (!started_) {
    started_ = true;
    origin_ = Time{} + usage_half_life * (t.time_since_epoch() / usage_half_life);
  } else if (t == last_) {
    return last_growth_;
  }
  last_ = t;
  return last_growth_ = std::exp2(Seconds(t - origin_).count() / half_life_s);
}

bool Growth::far(Time now) const { return started_ && now - origin_ > usage_half_life * half_lives_before_rebase; }

double Growth::rebase(Time now) {
  auto steps = (now - origin_) / usage_half_life;
  origin_ += usage_half_life * steps;
  last_ = Time{Duration::min()};
  return std::exp2(-double(steps));
}

void Account::hold(const Resources& what, double growth) {
  held_ += what;
  known_at_ = 0;
  growth = std::max(growth, counted_);
  auto amounts = what.each();
  for (std::size_t r = 0; r < Resources::kinds; ++r) past_[r] -= double(amounts[r]) * life_s * growth;
}

void Account::release(const Resources& what, double growth) {
  held_ -= what;
  known_at_ = 0;
  auto amounts = what.each();
  for (std::size_t r = 0; r < Resources::kinds; ++r) past_[r] += double(amounts[r]) * life_s * growth;
}

float Account::share(double growth, const Resources& capacity) const {
  if (known_at_ != growth) known_share_ = computed_share(growth, capacity), known_at_ = growth;
  return known_share_;
}

float Account::computed_share(double growth, const Resources& capacity) const {
  auto held = held_.each();
  auto total = capacity.each();
  double most = 0;
  for (std::size_t r = 0; r < Resources::kinds; ++r) {
    double held_now = double(held[r]) * growth;
    double used = std::max(0.0, past_[r] + held_now * life_s);
    most = std::max(most, (held_now + used / half_life_s) / capacity_of(total[r]));
  }
  return float(most / weight_);
}

double Account::used_share(double growth, const Resources& capacity) const {
  auto held = held_.each();
  auto total = capacity.each();
  double most = 0;
  for (std::size_t r = 0; r < Resources::kinds; ++r)
    most = std::max(most, (past_[r] + double(held[r]) * life_s * growth) / capacity_of(total[r]));
  return most / weight_;
}

double Account::past_share(double growth, const Resources& capacity) const {
  return used_share(growth, capacity) * weight_ / growth / life_s;
}

double Account::held_share(const Resources& capacity) const {
  auto held = held_.each();
  auto total = capacity.each();
  double most = 0;
  for (std::size_t r = 0; r < Resources::kinds; ++r) most = std::max(most, double(held[r]) / capacity_of(total[r]));
  return most;
}

Amounts Account::used(double growth) const {
  Amounts out{};
  auto held = held_.each();
  for (std::size_t r = 0; r < Resources::kinds; ++r)
    out[r] = std::max(0.0, past_[r] / growth + double(held[r]) * life_s);
  return out;
}

void Account::set_used(const Amounts& used, double growth) {
  auto held = held_.each();
  for (std::size_t r = 0; r < Resources::kinds; ++r) past_[r] = (used[r] - double(held[r]) * life_s) * growth;
  counted_ = growth;
  known_at_ = 0;
}

void Account::lift(double used_share, double growth, const Resources& capacity) {
  auto held = held_.each();
  auto total = capacity.each();
  for (std::size_t r = 0; r < Resources::kinds; ++r) {
    double least = used_share * weight_ * capacity_of(total[r]) - double(held[r]) * life_s * growth;
    past_[r] = std::max(past_[r], least);
  }
  known_at_ = 0;
}

void Account::scale(double factor) {
  for (auto& amount : past_) amount *= factor;
  counted_ *= factor;
  known_at_ = 0;
}

}  // namespace mayfly::scheduling
