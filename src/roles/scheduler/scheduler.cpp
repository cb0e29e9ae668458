#include "roles/scheduler/scheduler.h"

#include <algorithm>

#include "base/json.h"
#include "base/log.h"
#include "roles/common/pools.h"
#include "roles/common/projects.h"
#include "roles/scheduler/wait_reasons.h"

namespace mayfly {
namespace {

constexpr Duration sweep_interval = std::chrono::seconds(5);
constexpr Duration poll_wait = std::chrono::minutes(1);
constexpr Duration weights_kept = std::chrono::minutes(1);
constexpr Duration pool_interval = std::chrono::seconds(1);
constexpr Duration first_pool_interval = std::chrono::milliseconds(20);
constexpr Duration storage_retry = std::chrono::seconds(1);

scheduling::QueuedJob queued_job(const BuildRecord& record, const JobState& job) {
  auto& spec = *job.spec;
  scheduling::QueuedJob out{.job = job.id, .build = record.header.id, .project = record.header.project, .organization = record.header.organization};
  out.shape = {.cpu_milli = spec.cpu_milli, .memory_bytes = spec.memory_bytes, .labels = spec.runs_on, .isolation = spec.isolation, .fork = record.state.event.fork};
  out.priority = spec.priority;
  out.queued_at = job.queued_at.value_or(record.state.created_at);
  out.not_before = job.not_before;
  if (spec.max_parallel > 0) {
    out.matrix_group = spec.base_name;
    out.max_parallel = spec.max_parallel;
  }
  return out;
}

bool holds_runner(JobStatus status) { return status == JobStatus::assigned || status == JobStatus::running; }

}  // namespace

Task<void> Scheduler::run() {
  work_.spawn(follow(topic::jobs));
  work_.spawn(follow(topic::events));
  work_.spawn(watch_pools());
  work_.spawn(sweep_forever());
  work_.spawn(decide_forever());
  work_.spawn(answer_wait_reasons(cache_, clock_, [this](JobId job) { return why(job); }));
  co_await work_.join();
}

std::string Scheduler::why(JobId job) {
  auto reason = fair_.why(job, clock_.now());
  bool waits = reason.kind != scheduling::WaitReason::Kind::running && reason.kind != scheduling::WaitReason::Kind::unknown;
  return waits ? reason.sentence : std::string{};
}

void Scheduler::drop(JobId job) {
  auto at = known_.find(job);
  if (at == known_.end()) return;
  if (at->second.running) fair_.released(job, clock_.now());
  else fair_.remove(job, clock_.now());
  known_.erase(at);
  changed_.notify();
}

/// Brings what is known of a job in line with its state.
void Scheduler::learn(const BuildRecord& record, const JobState& job) {
  if (deciding_.contains(job.id)) return;
  bool live = job.status == JobStatus::queued || holds_runner(job.status);
  if (!live) return drop(job.id);
  auto known = known_.find(job.id);
  if (known != known_.end() && known->second.running == holds_runner(job.status)) return;
  if (known != known_.end()) drop(job.id);
  auto queued = queued_job(record, job);
  bool taken = holds_runner(job.status) ? fair_.add_running(queued, job.pool, job.assigned_at.value_or(clock_.now())) : fair_.enqueue(queued);
  if (!taken) return;  // too many at once: the sweep comes back to it
  known_[job.id] = {record.header.id, holds_runner(job.status)};
  changed_.notify();
}

Task<void> Scheduler::learn_weights(ProjectId id) {
  auto& read = weights_[id];
  if (read + weights_kept > clock_.now()) co_return;
  read = clock_.now();
  auto project = co_await find_project(db_, id);
  if (!project) co_return;
  fair_.set_organization(project->organization, project->organization_name, {.weight = double(project->organization_weight)});
  fair_.set_project(project->id, project->organization, double(project->weight));
}

Task<void> Scheduler::refresh(BuildId build) {
  auto record = co_await builds_.get(build);
  if (!record) co_return;
  co_await learn_weights((*record)->header.project);
  for (auto& job : (*record)->state.jobs) learn(**record, job);
}

/// Every message of both topics names its build: whatever it says, the build itself is looked at.
Task<void> Scheduler::follow(std::string_view topic) {
  auto subscription = bus_.subscribe(topic, "scheduler-" + std::to_string(leadership_.epoch));
  for (;;) {
    auto messages = co_await subscription->poll(500, clock_.now() + poll_wait);
    if (!messages) {
      co_await sleep_for(clock_, storage_retry);
      continue;
    }
    std::set<BuildId> builds;
    for (auto& message : *messages) {
      auto body = parse_json(message.payload);
      if (!body) continue;
      if (auto build = BuildId::parse(find_string(*body, "build_id").value_or(""))) builds.insert(*build);
    }
    for (auto build : builds) co_await refresh(build);
    if (!messages->empty()) (void)co_await subscription->commit(messages->back().position);
  }
}

Task<Result<void>> Scheduler::learn_pools() {
  CO_TRY_ASSIGN(auto stored, co_await stored_pools(db_));
  if (stored == pools_) co_return Result<void>{};
  for (auto& [name, pool] : pools_)
    if (!stored.contains(name)) fair_.remove_pool(name);
  for (auto& [name, pool] : stored)
    if (auto known = pools_.find(name); known == pools_.end() || known->second != pool) fair_.set_pool(pool);
  pools_ = std::move(stored);
  changed_.notify();
  co_return Result<void>{};
}

Task<void> Scheduler::watch_pools() {
  for (;;) {
    auto learned = co_await learn_pools();
    if (!learned) log_warn("the scheduler cannot read the pools", {{"error", learned.error().message}});
    co_await sleep_for(clock_, pools_.empty() ? first_pool_interval : pool_interval);
  }
}

Task<Result<void>> Scheduler::sweep() {
  CO_TRY_ASSIGN(auto live, co_await live_jobs(db_));
  std::set<BuildId> builds;
  std::set<JobId> alive;
  for (auto& job : live) {
    alive.insert(job.job);
    auto known = known_.find(job.job);
    if (known == known_.end() || known->second.running != holds_runner(job.status)) builds.insert(job.build);
  }
  std::set<BuildId> suspects;
  for (auto& [job, known] : known_)
    if (!alive.contains(job) && !deciding_.contains(job)) suspects.insert(known.build);
  builds.merge(suspects);
  for (auto build : builds) co_await refresh(build);
  co_return Result<void>{};
}

Task<void> Scheduler::sweep_forever() {
  for (;;) {
    auto swept = co_await sweep();
    if (!swept) log_warn("the scheduler cannot read the queue", {{"error", swept.error().message}});
    co_await sleep_for(clock_, swept ? sweep_interval : storage_retry);
  }
}

Task<void> Scheduler::decide_forever() {
  for (;;) {
    while (auto decision = fair_.next(clock_.now())) {
      auto known = known_.find(decision->job);
      if (known == known_.end()) {
        fair_.released(decision->job, clock_.now());
        continue;
      }
      known->second.running = true;
      deciding_.insert(decision->job);
      work_.spawn(assign(*decision, known->second.build));
    }
    metrics_.set("mayfly_queue_depth", double(fair_.waiting()));
    metrics_.set("mayfly_running_jobs", double(fair_.running()));
    co_await changed_.wait(clock_, fair_.wake_at().value_or(clock_.now() + sweep_interval));
  }
}

Task<void> Scheduler::assign(scheduling::Decision decision, BuildId build) {
  auto stored = co_await builds_.change(build, Assign{decision.job, decision.pool, make_id<AttemptId>(clock_, entropy_)}, {leadership_.still_ours()});
  deciding_.erase(decision.job);
  if (!stored) {
    bool storage = stored.error().code == Errc::unavailable || stored.error().code == Errc::timeout;
    if (storage) co_await sleep_for(clock_, storage_retry);
    drop(decision.job);
  }
  // What happened while the assignment was being stored was passed over: look again.
  co_await refresh(build);
}

}  // namespace mayfly
