#include "roles/scheduler/pool_watch.h"

#include "base/log.h"

namespace mayfly {

void PoolBeats::look(const std::vector<PoolRecord>& pools, Time now) {
  bool blind = looked_at_ + longest_gap < now;
  looked_at_ = now;
  std::map<std::string, Beat> seen;
  for (auto& pool : pools) {
    auto known = beats_.find(pool.state.name);
    auto beat = known == beats_.end() ? Beat{pool.epoch, pool.beat, now} : known->second;
    bool moved = beat.epoch != pool.epoch || beat.beat != pool.beat;
    if (moved || blind) beat.moved_at = now;
    seen[pool.state.name] = {pool.epoch, pool.beat, beat.moved_at, beat.moves || moved};
  }
  beats_ = std::move(seen);
}

PoolWatch::PoolWatch(Database& db, Builds& builds, Cache& cache, Clock& clock, Leadership scheduler, bool beats)
    : db_(db), builds_(builds), clock_(clock), leadership_(std::move(scheduler)), watched_(beats), heartbeats_(cache, clock) {}

Task<Result<std::vector<PoolRecord>>> PoolWatch::look() {
  CO_TRY_ASSIGN(auto pools, co_await pool_records(db_));
  if (!watched_) co_return pools;
  auto now = clock_.now();
  beats_.look(pools, now);
  std::map<std::string, Time> silent;
  for (auto& pool : pools) {
    CO_TRY(co_await judge(pool, now));
    if (pool.state.silent) silent[pool.state.name] = beats_.still_since(pool.state.name);
  }
  silent_ = std::move(silent);
  co_return pools;
}

Task<Result<void>> PoolWatch::judge(PoolRecord& pool, Time now) {
  auto& name = pool.state.name;
  auto since = beats_.still_since(name);
  bool still = since + pool_silent_after <= now;
  // A mark of an earlier scheduler stands until the beat is seen to move.
  bool silent = still || (pool.state.silent && !beats_.moves(name));
  if (silent == pool.state.silent) co_return Result<void>{};
  CO_TRY(co_await db_.transact({leadership_.still_ours(), silent ? mark_silent(name, since) : mark_heard(name)}));
  log_warn(silent ? "nobody keeps the pool any more" : "the pool is kept again", {{"pool", name}});
  pool.state.silent = silent;
  pool.silent_since = silent ? std::optional(since) : std::nullopt;
  co_return Result<void>{};
}

Task<Result<void>> PoolWatch::tend() {
  auto silent = silent_;
  if (silent.empty()) heartbeats_.clear();
  for (auto& [pool, since] : silent) {
    CO_TRY_ASSIGN(auto jobs, co_await jobs_of_pool(db_, pool));
    for (auto& job : jobs) co_await tend_job(pool, job, since + pool_gone_after <= clock_.now());
  }
  co_return Result<void>{};
}

Task<void> PoolWatch::tend_job(const std::string& pool, LiveJob live, bool gone) {
  auto record = co_await builds_.get(live.build);
  if (!record) co_return;
  auto* job = find_job((*record)->state, live.job);
  if (!job || job->pool != pool) co_return;
  std::optional<Lose> lost;
  if (job->status == JobStatus::running) lost = co_await heartbeats_.lost(*job);
  if (job->status == JobStatus::assigned && gone)
    lost = Lose{job->id, job->fence, Reason::pool_lost, "pool " + pool + " has not been heard of for " + format_duration(pool_gone_after) + "; it had not begun there"};
  if (!lost) co_return;
  heartbeats_.forget(job->attempt_id);
  auto changed = co_await builds_.change(live.build, *lost, {leadership_.still_ours()});
  if (!changed && changed.error().code != Errc::fenced)
    log_warn("a job of a silent pool could not be taken back", {{"pool", pool}, {"job", live.job.str()}, {"error", changed.error().message}});
}

}  // namespace mayfly
