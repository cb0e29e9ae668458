#pragma once
// Why queued jobs wait, asked of whichever process schedules now: a question and an answer over the cache's channels.
// Who gets no answer shows none; nothing hangs on it.

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "async/signal.h"
#include "base/ids.h"
#include "ports/cache.h"
#include "ports/clock.h"

namespace mayfly {

inline constexpr std::size_t max_reasons_at_once = 500;   // jobs of one question; the others get no sentence

/// A sentence a job; a job that does not wait has none.
using WhyWaits = std::map<JobId, std::string>;

/// Asks.
class WaitReasons final {
 public:
  WaitReasons(Cache& cache, Clock& clock, Entropy& entropy);

  /// Within a fraction of a second, or nothing.
  Task<WhyWaits> of(std::vector<JobId> jobs);

  /// Receives the answers, until canceled.
  Task<void> run();

 private:
  struct Question {
    Signal answered;
    WhyWaits reasons;
  };

  Cache& cache_;
  Clock& clock_;
  std::string channel_;                                     // where this process is answered
  std::int64_t asked_ = 0;
  std::map<std::int64_t, std::shared_ptr<Question>> open_;
  Time silent_until_{};
};

/// Answers with `why` until canceled.
Task<void> answer_wait_reasons(Cache& cache, Clock& clock, std::function<std::string(JobId)> why);

}  // namespace mayfly
