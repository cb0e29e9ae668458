#pragma once
// How much somebody has had, so that the next runner goes to whoever has had least for their weight. Past use fades with
// a half-life; what is held now counts in full, from the moment it is decided.
//
// Faded sums would have to be touched as time passes. Instead every amount is kept in units that grow as fast as the past
// fades ("forward decay", Cormode et al., ICDE 2009): a second used at time t is worth growth(t) = 2^(t/half-life), for
// ever. So an account is a line a + b*growth(now) whose value never falls while nothing happens to it, and an order of
// accounts computed earlier is a lower bound of the order now.

#include <array>

#include "base/time.h"
#include "domain/scheduling/types.h"

namespace mayfly::scheduling {

inline constexpr Duration usage_half_life = std::chrono::minutes(30);

/// The last whole step up to `t`.
constexpr Time step_of(Time t, Duration step) { return Time{step * (t.time_since_epoch() / step)}; }

/// growth(t), with an origin that moves (see rebase) so that it stays a number.
class Growth {
 public:
  double at(Time t);
  /// True once `now` is so far from the origin that the accounts should be multiplied by rebase()'s answer.
  bool far(Time now) const;
  double rebase(Time now);

 private:
  Time origin_{};
  bool started_ = false;
  Time last_{};
  double last_growth_ = 1;
};

using Amounts = std::array<double, Resources::kinds>;

class Account {
 public:
  void set_weight(double weight) { weight_ = weight, known_at_ = 0; }

  const Resources& held() const { return held_; }
  void hold(const Resources&, double growth);
  void release(const Resources&, double growth);

  /// max over resources of (held + used/half-life) / (weight * capacity), times growth. What accounts are compared by:
  /// a float, so that the order in which sums were made does not decide between equals.
  float share(double growth, const Resources& capacity) const;
  void capacity_changed() { known_at_ = 0; }
  /// The past's part alone, as weighted share-seconds, times growth.
  double used_share(double growth, const Resources& capacity) const;
  /// The dominant share it had over the last half-lives, unweighted: 1 when it had all of something all the time.
  double past_share(double growth, const Resources& capacity) const;
  /// max over resources of held / capacity, unweighted.
  double held_share(const Resources& capacity) const;

  /// Resource-seconds used, faded to now.
  Amounts used(double growth) const;
  /// What had been used at growth's moment, running jobs included: what is held later counts from then on.
  void set_used(const Amounts&, double growth);
  /// Raises the past to at least this used_share in every resource: who comes back from idling brings no credit.
  void lift(double used_share, double growth, const Resources& capacity);
  void scale(double factor);

 private:
  float computed_share(double growth, const Resources& capacity) const;

  mutable double known_at_ = 0;  // the growth known_share_ is of; 0: of none
  mutable float known_share_ = 0;
  double weight_ = 1;
  Resources held_;
  Amounts past_{};  // grown resource-seconds, less what `held_` would have had before it was held
  double counted_ = 0;  // growth up to which set_used() has it all
};

}  // namespace mayfly::scheduling
