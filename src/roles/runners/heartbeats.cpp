#include "roles/runners/heartbeats.h"

namespace mayfly {
namespace {

constexpr Duration asked_after = std::chrono::seconds(8);   // of silence

}  // namespace

std::string heartbeat_key(AttemptId attempt) { return "runner_heartbeat:" + attempt.str(); }

Task<std::optional<Lose>> Heartbeats::lost(JobState job) {
  auto now = clock_.now();
  if (job.start_time && *job.start_time + job.spec->timeout + timeout_margin < now)
    co_return Lose{job.id, job.fence, Reason::timeout, "the job ran longer than " + format_duration(job.spec->timeout)};
  if (co_await heard(job.attempt_id) + heartbeat_lost_after < clock_.now())
    co_return Lose{job.id, job.fence, Reason::runner_lost, "its runner has not been heard of for " + format_duration(heartbeat_lost_after)};
  co_return std::nullopt;
}

/// When the runner was last known to live. While nobody can be asked, silence says nothing.
Task<Time> Heartbeats::heard(AttemptId attempt) {
  auto now = clock_.now();
  if (auto last = heard_.try_emplace(attempt, 0, now).first->second.at; last + asked_after > now) co_return last;
  auto beat = co_await cache_.get(heartbeat_key(attempt));
  auto& heard = heard_.try_emplace(attempt, 0, now).first->second;
  bool moved = beat && *beat && (*beat)->sequence != heard.beat;
  if (moved) heard.beat = (*beat)->sequence;
  if (moved || !beat) heard.at = now;
  co_return heard.at;
}

}  // namespace mayfly
