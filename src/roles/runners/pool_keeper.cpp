#include "roles/runners/pool_keeper.h"

#include <algorithm>

#include "base/json.h"
#include "base/log.h"
#include "domain/scheduling/pools.h"
#include "roles/common/pools.h"
#include "roles/runners/attempts.h"
#include "roles/runners/token_issuers.h"

namespace mayfly {
namespace {

constexpr std::int64_t default_pids = 4096;
constexpr Duration start_retry = std::chrono::seconds(1);
constexpr Duration issuer_asked_every = std::chrono::minutes(10);
constexpr Duration issuer_retry = std::chrono::seconds(10);

// A runner's id begins with its machine where it has one: NODE/POD/UID (domain/runner/pod.h).
constexpr std::string_view select_lost_on = "select runner_id from attempts where job_id = $1 and outcome = 'infrastructure' and runner_id like '%/%'";

const JobState* job_of_attempt(const BuildState& build, AttemptId attempt) {
  auto at = std::ranges::find(build.jobs, attempt, &JobState::attempt_id);
  return at == build.jobs.end() ? nullptr : &*at;
}

bool is_active(const JobState& job) { return job.status == JobStatus::assigned || job.status == JobStatus::running; }

scheduling::Shape isolation_asked(const BuildState& build, const JobState& job) {
  scheduling::Shape shape;
  shape.isolation = job.spec->isolation;
  shape.fork = build.event.fork;
  return shape;
}

RunnerSpec runner_spec(const JobState& job, Isolation isolation, const RunnerIdentity& identity, const std::string& api_url) {
  auto& spec = *job.spec;
  return {.attempt = job.attempt_id, .fence = job.fence, .boot_token = identity.boot_token(job.attempt_id, job.fence),
          .api_url = api_url, .image = spec.image, .cpu_milli = spec.cpu_milli, .memory_bytes = spec.memory_bytes,
          .disk_bytes = spec.disk_bytes, .pids = default_pids, .network = spec.network, .timeout = spec.timeout,
          .isolation = std::string(to_string(isolation)), .services = spec.services};
}

}  // namespace

PoolKeeper::PoolKeeper(Database& db, Builds& builds, Executor& executor, Bus& bus, Cache& cache, Clock& clock,
                       const RunnerIdentity& identity, Loop loop, PoolOptions options, Leadership leadership)
    : db_(db), builds_(builds), executor_(executor), bus_(bus), clock_(clock), identity_(identity),
      options_(std::move(options)), leadership_(std::move(leadership)), work_(std::move(loop)), heartbeats_(cache, clock) {}

Task<void> PoolKeeper::run() {
  since_ = clock_.now();
  co_await say_what_we_are();
  executor_.on_end([this](RunnerStatus status) { work_.spawn(ended(std::move(status))); });
  work_.spawn(executor_.run());
  work_.spawn(keep_issuer());
  work_.spawn(follow_assignments());
  work_.spawn(sweep_forever());
  co_await work_.join();
}

Task<void> PoolKeeper::say_what_we_are() {
  for (;;) {
    auto stored = co_await db_.transact({store_pool({.state = options_.pool, .executor = options_.executor})});
    if (stored) co_return;
    log_warn("the pool cannot be made known", {{"pool", options_.pool.name}, {"error", stored.error().message}});
    co_await sleep_for(clock_, options_.sweep);
  }
}

/// Keys change when a platform's operator changes them.
Task<void> PoolKeeper::keep_issuer() {
  for (;;) {
    auto learned = co_await learn_issuer();
    if (learned && !*learned) co_return;
    if (!learned) log_warn("how the pool's platform vouches for runners is not known", {{"pool", options_.pool.name}, {"error", learned.error().message}, {"hint", learned.error().hint}});
    co_await sleep_for(clock_, learned ? issuer_asked_every : issuer_retry);
  }
}

/// False: there is none.
Task<Result<bool>> PoolKeeper::learn_issuer() {
  CO_TRY_ASSIGN(auto issuer, co_await executor_.issuer());
  if (!issuer) co_return false;
  CO_TRY(co_await db_.transact({store_token_issuer(options_.pool.name, *issuer, clock_.now())}));
  co_return true;
}

Task<void> PoolKeeper::follow_assignments() {
  auto subscription = bus_.subscribe(topic::assignments, "runners-" + options_.pool.name + "-" + std::to_string(leadership_.epoch));
  for (;;) {
    auto messages = co_await subscription->poll(200, clock_.now() + std::chrono::minutes(1));
    if (!messages) {
      co_await sleep_for(clock_, options_.sweep);
      continue;
    }
    for (auto& message : *messages) {
      if (message.key != options_.pool.name) continue;
      auto body = parse_json(message.payload);
      if (!body) continue;
      if (auto text = find_string(*body, "start")) {
        auto attempt = AttemptId::parse(*text);
        auto build = BuildId::parse(find_string(*body, "build_id").value_or(""));
        if (attempt && build) work_.spawn(start(*build, *attempt));
      } else if (auto stopped = find_string(*body, "stop")) {
        if (auto attempt = AttemptId::parse(*stopped)) work_.spawn(stop(*attempt, cancel_grace));
      }
    }
    if (!messages->empty()) (void)co_await subscription->commit(messages->back().position);
  }
}

Task<void> PoolKeeper::sweep_forever() {
  for (;;) {
    auto swept = co_await sweep();
    if (!swept) log_warn("a sweep over the pool failed", {{"pool", options_.pool.name}, {"error", swept.error().message}});
    co_await sleep_for(clock_, options_.sweep);
  }
}

Task<Result<void>> PoolKeeper::sweep() {
  CO_TRY_ASSIGN(auto live, co_await jobs_of_pool(db_, options_.pool.name));
  std::set<AttemptId> held;
  for (auto& job : live) {
    held.insert(job.attempt);
    co_await check(job);
  }
  CO_TRY_ASSIGN(auto runners, co_await executor_.list());
  for (auto& runner : runners) {
    if (!runner.running) {
      co_await ended(runner);
      continue;
    }
    started_.insert(runner.attempt);
    remember(runner);
    if (held.contains(runner.attempt)) continue;
    auto key = co_await find_attempt(db_, runner.attempt);
    if (!key && key.error().code != Errc::not_found) co_return std::unexpected(key.error());
    bool wanted = false;
    if (key) {
      CO_TRY_ASSIGN(auto record, co_await builds_.get(key->build));
      auto* job = job_of_attempt(record->state, runner.attempt);
      // One that was just canceled has its grace to say its last words.
      wanted = job && (is_active(*job) || (job->end_time && *job->end_time + 2 * cancel_grace > clock_.now()));
    }
    // What has no row yet may be an attempt whose assignment is being stored.
    if (!wanted && !starting_.contains(runner.attempt)) work_.spawn(stop(runner.attempt, Duration{}));
  }
  co_return Result<void>{};
}

Task<void> PoolKeeper::check(LiveJob live) {
  auto record = co_await builds_.get(live.build);
  if (!record) co_return;
  auto* job = find_job((*record)->state, live.job);
  if (!job || !is_active(*job) || job->pool != options_.pool.name) co_return;
  AttemptKey key{job->attempt_id, job->id, live.build, job->fence, job->pool};
  auto now = clock_.now();
  if (job->status == JobStatus::assigned) {
    if (std::max(job->assigned_at.value_or(now), since_) + options_.start_deadline < now) {
      auto trouble = troubles_.find(key.attempt);
      bool known = trouble != troubles_.end();
      auto detail = "its runner did not report within " + format_duration(options_.start_deadline) + (known ? ": " + trouble->second.detail : "");
      co_return co_await lose(key, known ? trouble->second.reason : Reason::start_deadline, std::move(detail));
    }
    co_return co_await start(live.build, key.attempt);
  }
  auto lost = co_await heartbeats_.lost(*job);
  if (!lost) co_return;
  auto trouble = troubles_.find(key.attempt);
  bool node_lost = lost->reason == Reason::runner_lost && trouble != troubles_.end() && trouble->second.reason == Reason::node_lost;
  if (node_lost) co_return co_await lose(key, Reason::node_lost, lost->detail + ": " + trouble->second.detail);
  co_await lose(key, lost->reason, std::move(lost->detail));
}

Task<void> PoolKeeper::start(BuildId build, AttemptId attempt) {
  if (started_.contains(attempt) || !starting_.insert(attempt).second) co_return;
  auto started = co_await try_start(build, attempt);
  starting_.erase(attempt);
  if (!started) log_warn("a runner could not be started", {{"attempt", attempt.str()}, {"error", started.error().message}});
}

Task<Result<RunnerSpec>> PoolKeeper::spec_of(const JobState& job, Isolation isolation) {
  auto spec = runner_spec(job, isolation, identity_, options_.api_url);
  if (job.infrastructure_retries == 0) co_return spec;
  CO_TRY_ASSIGN(auto lost, co_await db_.query(statement(select_lost_on, job.id)));
  for (auto& row : lost.rows) {
    auto runner = text_at(row, 0);
    spec.avoid_machines.push_back(runner.substr(0, runner.find('/')));
  }
  co_return spec;
}

void PoolKeeper::remember(const RunnerStatus& status) {
  if (status.reason == Reason::none) troubles_.erase(status.attempt);
  else troubles_[status.attempt] = status;
}

Task<Result<void>> PoolKeeper::try_start(BuildId build, AttemptId attempt) {
  CO_TRY_ASSIGN(auto record, co_await builds_.get(build));
  auto* job = job_of_attempt(record->state, attempt);
  if (!job || job->status != JobStatus::assigned) co_return Result<void>{};
  AttemptKey key{attempt, job->id, build, job->fence, job->pool};
  auto isolation = scheduling::isolation_in(options_.pool, isolation_asked(record->state, *job));
  if (!isolation) {
    // Placed while the pool was another: the scheduler knows by now.
    co_await lose(key, Reason::isolation, "pool " + options_.pool.name + " offers no isolation as strong as the job needs");
    co_return Result<void>{};
  }
  CO_TRY_ASSIGN(auto spec, co_await spec_of(*job, *isolation));
  auto started = co_await executor_.start(std::move(spec));
  if (started || started.error().code == Errc::conflict) {
    started_.insert(attempt);
    co_return Result<void>{};
  }
  if (started.error().code == Errc::unavailable) {  // the sweep tries again
    troubles_[attempt] = {attempt, true, Reason::start_deadline, started.error().message};
    co_await sleep_for(clock_, start_retry);
    co_return std::unexpected(started.error());
  }
  auto code = started.error().code;
  auto reason = code == Errc::not_found ? Reason::image_pull : code == Errc::unsupported ? Reason::refused : Reason::start_deadline;
  co_await lose(std::move(key), reason, started.error().message);
  co_return Result<void>{};
}

Task<void> PoolKeeper::stop(AttemptId attempt, Duration grace) {
  if (!stopping_.emplace(attempt, grace).second) co_return;
  auto stopped = co_await executor_.stop(attempt, grace);
  stopping_.erase({attempt, grace});
  if (!stopped) log_warn("a runner could not be stopped", {{"attempt", attempt.str()}, {"error", stopped.error().message}});
}

Task<void> PoolKeeper::lose(AttemptKey key, Reason reason, std::string detail) {
  auto changed = co_await builds_.change(key.build, Lose{key.job, key.fence, reason, std::move(detail)}, {leadership_.still_ours()});
  if (!changed && changed.error().code != Errc::fenced)
    log_warn("a lost attempt could not be recorded", {{"attempt", key.attempt.str()}, {"error", changed.error().message}});
}

Task<void> PoolKeeper::ended(RunnerStatus status) {
  auto key = co_await find_attempt(db_, status.attempt);
  if (!key && key.error().code != Errc::not_found) co_return;
  if (key) {
    auto record = co_await builds_.get(key->build);
    if (!record) co_return;
    auto* job = job_of_attempt((*record)->state, status.attempt);
    if (job && is_active(*job)) {
      auto reason = status.reason == Reason::none || status.reason == Reason::exit_code ? Reason::runner_lost : status.reason;
      auto detail = status.detail.empty() ? std::string("its runner ended without saying how the job went") : status.detail;
      co_await lose(*key, reason, std::move(detail));
    }
  }
  auto forgotten = co_await executor_.forget(status.attempt);
  if (!forgotten) co_return;
  started_.erase(status.attempt);
  troubles_.erase(status.attempt);
  heartbeats_.forget(status.attempt);
}

}  // namespace mayfly
