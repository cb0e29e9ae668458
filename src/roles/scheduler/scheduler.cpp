#include "roles/scheduler/scheduler.h"

#include <algorithm>

#include "base/json.h"
#include "base/log.h"
#include "domain/scheduling/explain.h"
#include "roles/common/pools.h"
#include "roles/common/projects.h"

namespace mayfly {
namespace {

constexpr Duration sweep_interval = std::chrono::seconds(5);
constexpr Duration poll_wait = std::chrono::minutes(1);
constexpr Duration weights_kept = std::chrono::minutes(1);
constexpr Duration pool_interval = std::chrono::seconds(1);
constexpr Duration first_pool_interval = std::chrono::milliseconds(20);
constexpr Duration tend_interval = std::chrono::seconds(1);
constexpr Duration storage_retry = std::chrono::seconds(1);

constexpr std::size_t max_reported_shapes = 50;   // of a pool, in metrics; the others are one
constexpr Duration report_interval = std::chrono::seconds(1);
constexpr std::string_view reported[] = {"mayfly_waiting_jobs", "mayfly_queue_depth", "mayfly_queue_wait_seconds", "mayfly_running_jobs",
                                         "mayfly_pool_capacity", "mayfly_pool_used", "mayfly_pool_open"};

scheduling::QueuedJob queued_job(const BuildRecord& record, const JobState& job) {
  auto& spec = *job.spec;
  scheduling::QueuedJob out{.job = job.id, .build = record.header.id, .project = record.header.project, .organization = record.header.organization};
  out.shape = {.cpu_milli = spec.cpu_milli, .memory_bytes = spec.memory_bytes, .labels = spec.runs_on, .isolation = spec.isolation, .fork = record.state.event.fork};
  out.priority = spec.priority;
  out.queued_at = job.queued_at.value_or(record.state.created_at);
  out.not_before = job.not_before;
  for (auto& other : record.state.jobs) out.build_served_at = std::max(out.build_served_at, other.assigned_at.value_or(Time{}));
  if (spec.max_parallel > 0) {
    out.matrix_group = spec.base_name;
    out.max_parallel = spec.max_parallel;
  }
  return out;
}

bool holds_runner(JobStatus status) { return status == JobStatus::assigned || status == JobStatus::running; }

}  // namespace

Scheduler::Scheduler(Database& db, Builds& builds, Bus& bus, Cache& cache, Clock& clock, Entropy& entropy, Metrics& metrics, UsageStore& usage, Loop loop,
                     Leadership leadership, bool alone)
    : db_(db), builds_(builds), bus_(bus), cache_(cache), clock_(clock), entropy_(entropy), metrics_(metrics), usage_(usage),
      leadership_(std::move(leadership)), watch_(db, builds, cache, clock, leadership_, !alone), work_(std::move(loop)) {}

Scheduler::~Scheduler() {
  for (auto name : reported) metrics_.replace(name, {});   // whoever schedules now says it
  if (recalled_) usage_.note(fair_.usage(clock_.now()), leadership_);
}

Task<void> Scheduler::run() {
  co_await recall_usage();
  work_.spawn(store_usage_forever());
  work_.spawn(tend_pools());
  work_.spawn(report_forever());
  work_.spawn(follow(topic::jobs));
  work_.spawn(follow(topic::events));
  work_.spawn(watch_pools());
  work_.spawn(sweep_forever());
  work_.spawn(decide_forever());
  work_.spawn(answer_wait_reasons(cache_, clock_, [this](JobId job) { return why(job); }, [this] { return pool_numbers(); }));
  co_await work_.join();
}

Task<void> Scheduler::recall_usage() {
  for (;;) {
    auto usage = co_await usage_.load();
    if (usage) fair_ = scheduling::FairShare(*usage);
    else log_warn("who has had how much cannot be read", {{"error", usage.error().message}});
    recalled_ = usage || usage.error().code == Errc::corrupt;   // then everybody starts as a newcomer
    if (recalled_) co_return;
    co_await sleep_for(clock_, storage_retry);
  }
}

Task<void> Scheduler::store_usage_forever() {
  for (;;) {
    co_await sleep_for(clock_, usage_stored_every);
    bool busy = std::exchange(used_, fair_.running() > 0);
    if (!busy) continue;   // it only fades, as what is stored does
    auto stored = co_await usage_.store(fair_.usage(clock_.now()), leadership_);
    if (!stored) log_warn("who has had how much cannot be stored", {{"error", stored.error().message}});
  }
}

std::string Scheduler::why(JobId job) {
  auto reason = fair_.why(job, clock_.now());
  bool waits = reason.kind != scheduling::WaitReason::Kind::running && reason.kind != scheduling::WaitReason::Kind::unknown;
  return waits ? reason.sentence : std::string{};
}

PoolsNumbers Scheduler::pool_numbers() const {
  PoolsNumbers out;
  for (auto& pool : fair_.pool_statistics()) out[pool.pool].used = pool.held;
  for (auto& shape : fair_.queue_statistics(clock_.now()))
    for (auto& pool : shape.pools) {
      out[pool].waiting += shape.waiting;
      out[pool].longest = std::max(out[pool].longest, shape.longest);
    }
  return out;
}

void Scheduler::report() {
  std::vector<Sample> running, capacity, used, open, depth, wait;
  for (auto& pool : fair_.pool_statistics()) {
    auto whole = pool.capacity.each(), held = pool.held.each();
    constexpr std::string_view resources[] = {"cpu_milli", "memory_bytes", "slots"};
    for (std::size_t r = 0; r < scheduling::Resources::kinds; ++r) {
      capacity.push_back({{{"pool", pool.pool}, {"resource", std::string(resources[r])}}, double(whole[r])});
      used.push_back({{{"pool", pool.pool}, {"resource", std::string(resources[r])}}, double(held[r])});
    }
    running.push_back({{{"pool", pool.pool}}, double(pool.held.slots)});
    auto known = pools_.find(pool.pool);
    open.push_back({{{"pool", pool.pool}}, known != pools_.end() && known->second.takes_jobs() ? 1.0 : 0.0});
  }
  std::map<std::pair<std::string, std::string>, std::pair<double, double>> queue;
  std::map<std::string, std::size_t> shapes;
  for (auto& [name, state] : pools_) queue[{name, ""}] = {};   // a pool that nothing waits for has a queue all the same
  for (auto& shape : fair_.queue_statistics(clock_.now())) {
    auto pools = shape.pools.empty() ? std::vector<std::string>{""} : shape.pools;
    for (auto& pool : pools) {
      auto& [waiting, longest] = queue[{pool, ++shapes[pool] <= max_reported_shapes ? scheduling::shape_text(shape.shape) : "other"}];
      waiting += double(shape.waiting);
      longest = std::max(longest, std::chrono::duration<double>(shape.longest).count());
    }
  }
  for (auto& [where, numbers] : queue) {
    depth.push_back({{{"pool", where.first}, {"shape", where.second}}, numbers.first});
    wait.push_back({{{"pool", where.first}, {"shape", where.second}}, numbers.second});
  }
  metrics_.replace("mayfly_waiting_jobs", {{{}, double(fair_.waiting())}});
  metrics_.replace("mayfly_running_jobs", running);
  metrics_.replace("mayfly_pool_capacity", capacity);
  metrics_.replace("mayfly_pool_used", used);
  metrics_.replace("mayfly_pool_open", open);
  metrics_.replace("mayfly_queue_depth", depth);
  metrics_.replace("mayfly_queue_wait_seconds", wait);
}

Task<void> Scheduler::report_forever() {
  for (;;) {
    report();
    co_await sleep_for(clock_, report_interval);
  }
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
  used_ = used_ || holds_runner(job.status);
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
  CO_TRY_ASSIGN(auto records, co_await watch_.look());
  std::map<std::string, scheduling::PoolState> stored;
  for (auto& pool : records) stored[pool.state.name] = std::move(pool.state);
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

Task<void> Scheduler::tend_pools() {
  for (;;) {
    auto tended = co_await watch_.tend();
    if (!tended) log_warn("the jobs of silent pools cannot be read", {{"error", tended.error().message}});
    co_await sleep_for(clock_, tend_interval);
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
      known->second.running = used_ = true;
      deciding_.insert(decision->job);
      work_.spawn(assign(*decision, known->second.build));
    }
    co_await changed_.wait(clock_, fair_.wake_at().value_or(clock_.now() + sweep_interval));
  }
}

Task<void> Scheduler::assign(scheduling::Decision decision, BuildId build) {
  auto stored = co_await builds_.change(build, Assign{decision.job, decision.pool, make_id<AttemptId>(clock_, entropy_)}, {may_assign(leadership_, decision.pool)});
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
