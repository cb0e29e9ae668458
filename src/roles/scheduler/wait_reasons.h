#pragma once
// Why queued jobs wait and how full pools are, asked of whichever process schedules now: a question and an answer over the
// cache's channels. Who gets no answer shows none; nothing hangs on it.

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "async/signal.h"
#include "base/ids.h"
#include "domain/scheduling/types.h"
#include "ports/cache.h"
#include "ports/clock.h"

namespace mayfly {

inline constexpr std::size_t max_reasons_at_once = 500;   // jobs of one question; the others get no sentence

/// A sentence a job; a job that does not wait has none.
using WhyWaits = std::map<JobId, std::string>;

/// What only the scheduler knows of a pool.
struct PoolNumbers {
  scheduling::Resources used;
  std::int64_t waiting = 0;      // jobs that could start there, were there room
  Duration longest{};            // how long one of them has waited, at most

  bool operator==(const PoolNumbers&) const = default;
};
using PoolsNumbers = std::map<std::string, PoolNumbers>;

/// Asks.
class WaitReasons final {
 public:
  WaitReasons(Cache& cache, Clock& clock, Entropy& entropy);

  /// Within a fraction of a second, or nothing.
  Task<WhyWaits> of(std::vector<JobId> jobs);

  /// As of(). Nothing when nobody answers.
  Task<std::optional<PoolsNumbers>> pools();

  /// Receives the answers, until canceled.
  Task<void> run();

 private:
  struct Question {
    Signal answered;
    std::string answer;          // JSON
  };
  Task<std::string> ask(std::string fields);

  Cache& cache_;
  Clock& clock_;
  std::string channel_;                                     // where this process is answered
  std::int64_t asked_ = 0;
  std::map<std::int64_t, std::shared_ptr<Question>> open_;
  Time silent_until_{};
};

/// Answers until canceled.
Task<void> answer_wait_reasons(Cache& cache, Clock& clock, std::function<std::string(JobId)> why, std::function<PoolsNumbers()> pools);

}  // namespace mayfly
