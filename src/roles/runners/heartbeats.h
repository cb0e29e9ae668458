#pragma once
// Whether running attempts still live, by the beats their runners leave in the cache. A beat is watched move by the watcher's
// own clock, so a cache that has forgotten everything costs time and no runner.

#include <map>
#include <optional>
#include <string>

#include "domain/build/state.h"
#include "ports/cache.h"
#include "ports/clock.h"

namespace mayfly {

inline constexpr Duration timeout_margin = std::chrono::seconds(30);   // the runner's own limit comes first

/// The cache key whose sequence moves while an attempt's runner is heard of (TTL heartbeat_lost_after).
std::string heartbeat_key(AttemptId attempt);

class Heartbeats final {
 public:
  Heartbeats(Cache& cache, Clock& clock) : cache_(cache), clock_(clock) {}

  /// What is to be said of a running job whose runner is lost, or has run longer than it may; nothing while it lives. An
  /// attempt counts as heard of when it is first asked about.
  Task<std::optional<Lose>> lost(JobState job);
  void forget(AttemptId attempt) { heard_.erase(attempt); }
  void clear() { heard_.clear(); }

 private:
  Task<Time> heard(AttemptId attempt);

  Cache& cache_;
  Clock& clock_;
  struct Heard {
    std::int64_t beat = 0;              // the sequence under heartbeat_key()
    Time at{};                          // when it was seen to move, by our clock
  };
  std::map<AttemptId, Heard> heard_;
};

}  // namespace mayfly
