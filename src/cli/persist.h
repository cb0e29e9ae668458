#pragma once
// Going on after a connection broke: with growing pauses, until the server has been away for too long.

#include <algorithm>
#include <chrono>

#include "base/result.h"
#include "ports/clock.h"

namespace mayfly::cli {

inline constexpr std::chrono::seconds patience{60};

class Persistence final {
 public:
  explicit Persistence(Clock& clock) : clock_(clock), good_(clock.now()) {}

  /// Something arrived: the next failure is the first again.
  void progress() {
    good_ = clock_.now();
    pause_ = first_pause;
  }

  /// Waits and succeeds if trying again could help, else gives the error back.
  Task<Result<void>> after(Error error) {
    bool may_pass = error.code == Errc::unavailable || error.code == Errc::timeout || error.code == Errc::rate_limited;
    if (!may_pass || clock_.now() - good_ > patience) co_return std::unexpected(std::move(error));
    co_await sleep_for(clock_, pause_);
    pause_ = std::min<Duration>(pause_ * 2, longest_pause);
    co_return Result<void>();
  }

 private:
  static constexpr Duration first_pause = std::chrono::milliseconds(250);
  static constexpr Duration longest_pause = std::chrono::seconds(5);

  Clock& clock_;
  Time good_;
  Duration pause_ = first_pause;
};

}  // namespace mayfly::cli
