#include "roles/runners/attempts.h"

#include <algorithm>
#include <ranges>

#include "domain/runner/shell.h"
#include "domain/scheduling/pools.h"
#include "roles/common/pools.h"
#include "base/log.h"
#include "domain/access/workload.h"
#include "domain/runner/pod.h"
#include "roles/common/projects.h"
#include "roles/runners/token_issuers.h"

namespace mayfly {
namespace {

constexpr std::int64_t max_heartbeat_wait_ms = 20'000;
constexpr Duration tell_interval = std::chrono::seconds(2);
constexpr auto branch_prefix = std::string_view("refs/heads/");
constexpr auto tag_prefix = std::string_view("refs/tags/");

std::string after_prefix(std::string_view ref, std::string_view prefix) {
  return ref.starts_with(prefix) ? std::string(ref.substr(prefix.size())) : std::string{};
}

std::unexpected<Error> not_yours(std::string_view why) {
  return fail(Errc::unauthenticated, std::string(why));
}

std::unexpected<Error> over(const JobState& job) {
  return fail(Errc::fenced, "job '" + job.spec->name + "' is " + std::string(to_string(job.status)), "stop: the attempt has ended");
}

Env ci_environment(const BuildRecord& record, const JobState& job, const Project& project, std::string_view api_url) {
  auto& h = record.header;
  auto& event = record.state.event;
  return {
      {"CI", "true"},
      {"CI_BUILD_ID", h.id.str()},
      {"CI_JOB_ID", job.id.str()},
      {"CI_JOB_NAME", job.spec->name},
      {"CI_ATTEMPT", std::to_string(job.attempt)},
      {"CI_COMMIT_SHA", h.commit_sha},
      {"CI_COMMIT_REF", h.ref},
      {"CI_COMMIT_BRANCH", after_prefix(h.ref, branch_prefix)},
      {"CI_COMMIT_TAG", after_prefix(h.ref, tag_prefix)},
      {"CI_PULL_REQUEST", event.pull_request ? std::to_string(*event.pull_request) : std::string{}},
      {"CI_REPO_URL", without_credentials(project.repo_url)},
      {"CI_PROJECT", project.name},
      {"CI_API_URL", std::string(api_url)},
      {"CI_ISOLATION", job.isolation ? std::string(to_string(*job.isolation)) : std::string{}},
  };
}

}  // namespace

Attempts::Attempts(Database& db, Builds& builds, LogIntake& logs, ArtifactStore& artifacts, Secrets& secrets, Forge& forge,
                   Cache& cache, Clock& clock, const RunnerIdentity& identity, std::string api_url)
    : db_(db), builds_(builds), logs_(logs), artifacts_(artifacts), secrets_(secrets), forge_(forge), cache_(cache), clock_(clock),
      identity_(identity), api_url_(std::move(api_url)) {
  builds_.on_change([this](const BuildState& state, const Effects& effects) { observe(state, effects); });
}

void Attempts::observe(const BuildState& state, const Effects& effects) {
  for (auto i : effects.changed) {
    auto& job = state.jobs[i];
    if (job.attempt_id.is_nil()) continue;
    if (job.status == JobStatus::assigned) live_[job.attempt_id].key = {job.attempt_id, job.id, state.id, job.fence, job.pool};
    if (auto at = live_.find(job.attempt_id); at != live_.end() && job.status != JobStatus::running) at->second.moved->notify();
  }
}

void Attempts::want_shell(AttemptId attempt, std::string shell) {
  auto at = live_.find(attempt);
  if (at == live_.end() || at->second.shells.size() >= max_shells_per_job || std::ranges::find(at->second.shells, shell) != at->second.shells.end()) return;
  at->second.shells.push_back(std::move(shell));
  at->second.moved->notify();
}

void Attempts::nudge(AttemptId attempt) {
  if (auto at = live_.find(attempt); at != live_.end()) at->second.moved->notify();
}

Task<Result<AttemptKey>> Attempts::proved(AttemptId attempt, RunnerCredentials who) {
  CO_TRY_ASSIGN(auto now, co_await current(attempt, std::move(who)));
  co_return now.key;
}

void Attempts::drain() {
  draining_ = true;
  for (auto& [attempt, live] : live_) live.moved->notify();
}

Task<Result<AttemptKey>> Attempts::key_of(AttemptId attempt) {
  if (auto at = live_.find(attempt); at != live_.end()) co_return at->second.key;
  co_return co_await find_attempt(db_, attempt);
}

Task<void> Attempts::seen(AttemptKey key) {
  auto& live = live_[key.attempt];
  live.key = key;
  live.seen = clock_.now();
  if (live.told + tell_interval > live.seen) co_return;
  live.told = live.seen;
  (void)co_await cache_.set_if_newer(heartbeat_key(key.attempt), {to_micros(live.seen), ""}, heartbeat_lost_after);
}

void Attempts::forget_silent() {
  auto horizon = clock_.now() - 2 * heartbeat_lost_after;
  std::erase_if(live_, [&](auto& e) { return e.second.seen < horizon && e.second.moved.use_count() == 1; });
}

Task<void> Attempts::run() {
  auto stops = cache_.subscribe(stops_channel);
  for (;;) {
    auto text = co_await stops->next(clock_.now() + heartbeat_lost_after);
    forget_silent();
    if (!text) continue;
    for (auto word : std::views::split(*text, ' ')) {
      auto attempt = AttemptId::parse(std::string_view(word));
      auto at = attempt ? live_.find(*attempt) : live_.end();
      if (at != live_.end()) at->second.moved->notify();
    }
  }
}

Task<Result<Attempts::Current>> Attempts::current(AttemptId attempt, RunnerCredentials who) {
  CO_TRY_ASSIGN(auto key, co_await key_of(attempt));
  if (who.fence != key.fence || !identity_.is_attempt_token(who.token, attempt, who.fence)) co_return not_yours("this is not the attempt's token");
  CO_TRY_ASSIGN(auto now, co_await current(key));
  co_await seen(key);
  co_return now;
}

Task<Result<Attempts::Current>> Attempts::current(AttemptKey key) {
  CO_TRY_ASSIGN(auto record, co_await builds_.get(key.build));
  auto* job = find_job(record->state, key.job);
  if (!job) co_return fail(Errc::not_found, "there is no job " + key.job.str());
  if (job->fence != key.fence)
    co_return fail(Errc::fenced, "attempt " + key.attempt.str() + " is no longer current", "stop: another attempt has taken its place");
  co_return Current{key, record, job};
}

Task<Result<std::vector<NeededJob>>> Attempts::needs_of(const BuildRecord& record, const JobState& job) {
  std::vector<NeededJob> out;
  for (auto index : job.needs) {
    auto& need = record.state.jobs[index];
    NeededJob needed{.name = need.spec->name, .status = std::string(to_string(need.status)), .outputs = need.outputs};
    auto source = need.source_job.is_nil() ? need.id : need.source_job;
    CO_TRY_ASSIGN(auto artifacts, co_await artifacts_.of_job(source));
    for (auto& a : artifacts) needed.artifacts.push_back({a.id.str(), a.kind, a.path, a.size, a.sha256});
    out.push_back(std::move(needed));
  }
  co_return out;
}

Task<Result<RunnerJob>> Attempts::runner_job(const BuildRecord& record, const JobState& job) {
  CO_TRY_ASSIGN(auto project, co_await find_project(db_, record.header.project));
  RunnerJob out;
  CO_TRY_ASSIGN(out.spec, resolve_spec(record.state, job));
  out.event = record.state.event;
  out.env = ci_environment(record, job, project, api_url_);
  out.env.insert(out.spec.env.begin(), out.spec.env.end());  // what CI_… says is ours
  if (!job.spec->secrets.empty() && !record.state.event.fork) {
    CO_TRY_ASSIGN(auto secrets, co_await secrets_.read(project.id, job.spec->secrets));
    for (auto& secret : secrets) out.secrets[secret.name] = std::move(secret.value);
  }
  if (auto& checkout = job.spec->checkout; checkout.enabled)
    CO_TRY(co_await forge_.deepen(project.repo_url, record.header.commit_sha, record.header.ref, checkout.depth));
  CO_TRY_ASSIGN(auto mirror, co_await forge_.mirror(project.repo_url));
  out.source = {mirror, record.header.commit_sha, record.header.ref, job.spec->checkout};
  CO_TRY_ASSIGN(out.needs, co_await needs_of(record, job));
  co_return out;
}

/// A sentence if the runner of a started attempt says less of its isolation than the job asks for and its pool promises.
Task<Result<std::string>> Attempts::weaker_than_promised(const BuildRecord& record, const JobState& job) {
  scheduling::Shape shape;
  shape.isolation = job.spec->isolation;
  shape.fork = record.state.event.fork;
  CO_TRY_ASSIGN(auto pool, co_await stored_pool(db_, job.pool));
  auto promised = pool ? scheduling::isolation_in(*pool, shape) : shape.isolation;
  if (pool && !promised) co_return "pool " + job.pool + " offers no isolation as strong as the job needs";
  if (!promised || at_least(job.isolation.value_or(Isolation::sandbox), *promised)) co_return std::string{};
  auto said = job.isolation ? std::string(to_string(*job.isolation)) : "an isolation it does not know";
  co_return "its runner runs under " + said + ", and the job was promised " + std::string(to_string(*promised));
}

Task<Result<StartAnswer>> Attempts::start(AttemptId attempt, StartRequest request) {
  auto key = co_await key_of(attempt);
  if (!key && key.error().code == Errc::not_found) co_return not_yours("there is no such attempt");
  if (!key) co_return std::unexpected(key.error());
  if (!request.identity.empty()) {
    CO_TRY(co_await check_identity(*key, request));
  } else if (!identity_.is_boot_token(request.boot_token, attempt, key->fence)) {
    co_return not_yours("this is not the attempt's boot token");
  }
  auto started = co_await builds_.change(key->build, Start{key->job, key->fence, request.runner_id, request.isolation, request.born_at});
  if (!started && started.error().code == Errc::fenced) co_return fail(Errc::conflict, started.error().message);
  if (!started) co_return std::unexpected(started.error());
  co_await seen(*key);
  CO_TRY_ASSIGN(auto record, co_await builds_.get(key->build));
  auto* job = find_job(record->state, key->job);
  if (!job || job->fence != key->fence || job->status != JobStatus::running) co_return fail(Errc::conflict, "the attempt is over");
  CO_TRY_ASSIGN(auto too_weak, co_await weaker_than_promised(*record, *job));
  if (!too_weak.empty()) {
    CO_TRY(co_await builds_.change(key->build, Lose{key->job, key->fence, Reason::isolation, too_weak}));
    co_return fail(Errc::conflict, too_weak);
  }
  auto work = co_await runner_job(*record, *job);
  if (!work && (work.error().code == Errc::unavailable || work.error().code == Errc::timeout)) co_return std::unexpected(work.error());
  if (!work) {
    // What the job asks for cannot be given (a secret that is not set, …): its author has to act.
    FinishReport report{.outcome = Outcome::failure, .reason = Reason::pipeline, .detail = work.error().message};
    if (!work.error().hint.empty()) report.detail += ": " + work.error().hint;
    report.steps = job->steps;
    for (auto& step : report.steps) step.status = StepStatus::skipped;
    CO_TRY(co_await builds_.change(key->build, Finish{key->job, key->fence, std::move(report)}));
    co_return fail(Errc::conflict, work.error().message);
  }
  co_return StartAnswer{identity_.attempt_token(attempt, key->fence), key->fence, std::move(*work)};
}

/// By the token the pool's platform gave to the runner's pod. Whoever shows a wrong one learns no more than that.
Task<Result<void>> Attempts::check_identity(const AttemptKey& key, const StartRequest& request) {
  CO_TRY_ASSIGN(auto issuer, co_await token_issuer_of(db_, key.pool));
  Result<Workload> who = fail(Errc::unauthenticated, "the runners of pool '" + key.pool + "' have no identity of a platform's");
  if (issuer) {
    WorkloadRules rules{.issuer = issuer->issuer, .audience = pod::identity_audience, .name_space = issuer->name_space, .service_account = issuer->service_account, .pod = "mayfly-" + key.attempt.str()};
    auto keys = verification_keys_from_jwks(issuer->jwks);
    who = keys ? verify_workload(request.identity, *keys, rules, clock_.now()) : std::unexpected(keys.error());
  }
  if (who && !request.runner_id.ends_with("/" + who->pod + "/" + who->pod_uid)) who = fail(Errc::unauthenticated, "the runner calls itself '" + request.runner_id + "' and is in pod " + who->pod);
  if (who) co_return Result<void>{};
  log_warn("a runner was turned away", {{"attempt", key.attempt.str()}, {"pool", key.pool}, {"why", who.error().message}});
  co_return not_yours("this is not the identity of the attempt's pod");
}

Task<Result<std::unique_ptr<SourceStream>>> Attempts::source(AttemptId attempt, RunnerCredentials who, std::optional<std::string> request) {
  CO_TRY_ASSIGN(auto now, co_await current(attempt, who));
  if (now.job->status != JobStatus::running) co_return over(*now.job);
  auto& checkout = now.job->spec->checkout;
  if (!checkout.enabled) co_return fail(Errc::not_found, "job '" + now.job->spec->name + "' has no source");
  auto& header = now.record->header;
  CO_TRY_ASSIGN(auto project, co_await find_project(db_, header.project));
  CO_TRY(co_await forge_.deepen(project.repo_url, header.commit_sha, header.ref, checkout.depth));
  co_return co_await forge_.serve(project.repo_url, header.commit_sha, std::move(request));
}

Task<Result<HeartbeatAnswer>> Attempts::heartbeat(AttemptId attempt, RunnerCredentials who, HeartbeatRequest request) {
  auto until = clock_.now() + std::chrono::milliseconds(std::clamp<std::int64_t>(request.wait_ms, 0, max_heartbeat_wait_ms));
  for (;;) {
    CO_TRY_ASSIGN(auto now, co_await current(attempt, who));
    CO_TRY_ASSIGN(auto log, co_await logs_.position(attempt));
    if (now.job->status == JobStatus::canceled)
      co_return HeartbeatAnswer{true, std::chrono::duration_cast<std::chrono::milliseconds>(cancel_grace).count(), log.durable};
    if (now.job->status != JobStatus::running) co_return over(*now.job);
    bool released = now.job->held_until && *now.job->held_until <= clock_.now();
    auto shells = std::exchange(live_[attempt].shells, {});
    if (clock_.now() >= until || draining_ || released || !shells.empty())
      co_return HeartbeatAnswer{.durable = log.durable, .shells = std::move(shells), .release = released};
    auto moved = live_[attempt].moved;
    co_await moved->wait(clock_, until);
  }
}

Task<Result<LogsAnswer>> Attempts::logs(AttemptId attempt, RunnerCredentials who, std::string frames) {
  CO_TRY_ASSIGN(auto now, co_await current(attempt, who));
  co_return co_await append(now, std::move(frames));
}

Task<Result<LogsAnswer>> Attempts::append(const Current& now, std::string frames) {
  // A canceled attempt may still say its last words; of every other that has ended the log is complete.
  if (now.job->status != JobStatus::running && now.job->status != JobStatus::canceled) co_return over(*now.job);
  CO_TRY_ASSIGN(auto before, co_await logs_.position(now.key.attempt));
  auto taken = co_await logs_.append(now.key.attempt, std::move(frames));
  if (taken && before.next == 0 && taken->next > 0)
    if (auto live = live_.find(now.key.attempt); live != live_.end() && !live->second.first_byte_at) live->second.first_byte_at = clock_.now();
  co_return taken;
}

Task<Result<LogsAnswer>> Attempts::ship(AttemptId attempt, std::optional<RunnerCredentials> who, std::string frames) {
  Current now;
  if (who) {
    CO_TRY_ASSIGN(now, co_await current(attempt, *std::move(who)));
  } else {
    CO_TRY_ASSIGN(auto key, co_await key_of(attempt));
    CO_TRY_ASSIGN(now, co_await current(key));
  }
  auto taken = co_await append(now, std::move(frames));
  if (taken) CO_TRY(co_await logs_.flush(attempt));
  co_return taken;
}

/// As this process saw it, else as the runner did.
std::optional<Time> Attempts::first_byte_of(AttemptId attempt, std::optional<Time> said) const {
  auto live = live_.find(attempt);
  if (live != live_.end() && live->second.first_byte_at) return live->second.first_byte_at;
  return said.transform([&](Time at) { return std::min(at, clock_.now()); });
}

Task<Result<void>> Attempts::steps(AttemptId attempt, RunnerCredentials who, StepsReport report) {
  CO_TRY_ASSIGN(auto now, co_await current(attempt, who));
  if (report.steps.size() != now.job->spec->steps.size()) co_return fail(Errc::invalid, "steps: not as many as the job has");
  co_return co_await builds_.change(now.key.build, ReportSteps{now.key.job, now.key.fence, std::move(report.steps), first_byte_of(attempt, report.first_byte_at), report.held_until});
}

Task<Result<void>> Attempts::finish(AttemptId attempt, RunnerCredentials who, FinishReport report) {
  CO_TRY_ASSIGN(auto now, co_await current(attempt, who));
  if (now.job->status != JobStatus::running && now.job->status != JobStatus::canceled) co_return Result<void>{};
  CO_TRY_ASSIGN(auto log, co_await logs_.complete(attempt, report.log_bytes));
  report.log_bytes = log.bytes;
  report.first_byte_at = first_byte_of(attempt, report.first_byte_at);
  bool nothing_left = log.statements.empty();
  auto changed = co_await builds_.change(now.key.build, Finish{now.key.job, now.key.fence, std::move(report)}, std::move(log.statements));
  if (!changed) co_return std::unexpected(changed.error());
  if (now.job->status == JobStatus::canceled && !nothing_left) CO_TRY(co_await logs_.flush(attempt));
  logs_.ended(attempt);
  co_return Result<void>{};
}

Task<Result<ArtifactOwner>> Attempts::artifact_owner(AttemptId attempt, RunnerCredentials who) {
  CO_TRY_ASSIGN(auto now, co_await current(attempt, who));
  if (now.job->status != JobStatus::running) co_return over(*now.job);
  co_return ArtifactOwner{now.key.build, now.key.job, attempt};
}

Task<Result<Artifact>> Attempts::needed_artifact(AttemptId attempt, RunnerCredentials who, ArtifactId id) {
  CO_TRY_ASSIGN(auto now, co_await current(attempt, who));
  CO_TRY_ASSIGN(auto artifact, co_await artifacts_.find(id));
  auto& jobs = now.record->state.jobs;
  bool needed = std::ranges::any_of(now.job->needs, [&](std::size_t i) {
    return artifact.owner.job == (jobs[i].source_job.is_nil() ? jobs[i].id : jobs[i].source_job);
  });
  if (!needed) co_return fail(Errc::not_found, "no job that this one needs has made artifact " + id.str());
  co_return artifact;
}

}  // namespace mayfly
