#include "domain/build/state.h"

#include <algorithm>
#include <cassert>
#include <unordered_map>

#include "domain/names.h"

namespace mayfly {
namespace {

constexpr Name<JobStatus> job_statuses[] = {
    {JobStatus::waiting, "waiting"},     {JobStatus::queued, "queued"},   {JobStatus::assigned, "assigned"},
    {JobStatus::running, "running"},     {JobStatus::succeeded, "succeeded"}, {JobStatus::failed, "failed"},
    {JobStatus::canceled, "canceled"},   {JobStatus::skipped, "skipped"}, {JobStatus::cached, "cached"},
};
constexpr Name<BuildStatus> build_statuses[] = {
    {BuildStatus::queued, "queued"}, {BuildStatus::running, "running"},   {BuildStatus::succeeded, "succeeded"},
    {BuildStatus::failed, "failed"}, {BuildStatus::canceled, "canceled"},
};

enum class Move { queue, assign, start, succeed, fail, cancel, skip, requeue };

struct Transition {
  JobStatus from;
  Move move;
  JobStatus to;
};

// All there is. What is not in this table cannot happen to a job; terminal states have no way out.
constexpr Transition transitions[] = {
    {JobStatus::waiting, Move::queue, JobStatus::queued},      {JobStatus::waiting, Move::skip, JobStatus::skipped},
    {JobStatus::waiting, Move::cancel, JobStatus::canceled},   {JobStatus::queued, Move::assign, JobStatus::assigned},
    {JobStatus::queued, Move::cancel, JobStatus::canceled},    {JobStatus::assigned, Move::start, JobStatus::running},
    {JobStatus::assigned, Move::requeue, JobStatus::queued},   {JobStatus::assigned, Move::fail, JobStatus::failed},
    {JobStatus::assigned, Move::cancel, JobStatus::canceled},  {JobStatus::running, Move::succeed, JobStatus::succeeded},
    {JobStatus::running, Move::requeue, JobStatus::queued},    {JobStatus::running, Move::fail, JobStatus::failed},
    {JobStatus::running, Move::cancel, JobStatus::canceled},
};

std::optional<JobStatus> target(JobStatus from, Move move) {
  for (auto& t : transitions)
    if (t.from == from && t.move == move) return t.to;
  return std::nullopt;
}

bool is_active(JobStatus s) { return s == JobStatus::assigned || s == JobStatus::running; }

/// Collects the effects of one event while it changes the build.
class Change {
 public:
  Change(BuildState& build, Time now) : build_(build), now_(now) {}

  BuildState& build() { return build_; }
  Time now() const { return now_; }
  JobState& job(std::size_t i) { return build_.jobs[i]; }

  void touch(std::size_t i) {
    auto at = std::ranges::lower_bound(effects_.changed, i);
    if (at == effects_.changed.end() || *at != i) effects_.changed.insert(at, i);
  }

  void move(std::size_t i, Move move) {
    auto to = target(job(i).status, move);
    assert(to && "the caller checked that the move is possible");
    job(i).status = *to;
    if (is_terminal(*to)) job(i).end_time = now_;
    job(i).held_until.reset();
    touch(i);
  }

  void queue(std::size_t i, Time not_before = {}) {
    job(i).queued_at = now_;
    job(i).not_before = not_before;
    effects_.queued.push_back(i);
  }

  void end_attempt(std::size_t i, Outcome outcome, Reason reason, std::string detail) {
    auto& j = job(i);
    effects_.ended.push_back({i, j.attempt_id, j.attempt, j.fence, outcome, reason, std::move(detail), j.exit_code, j.log_bytes, j.steps});
  }

  void stop(std::size_t i) { effects_.stops.push_back({job(i).attempt_id, job(i).pool}); }
  void note(std::size_t i, ShellNote note) { effects_.shells.emplace_back(i, std::move(note)); }
  void mark_steps_only() { effects_.steps_only = true; }
  void first_byte(std::size_t i, std::optional<Time> at) {
    auto& j = job(i);
    if (!at || j.first_byte_at) return;
    j.first_byte_at = std::max(*at, j.start_time.value_or(*at));
    effects_.first_bytes.push_back(i);
  }
  void touch_build() { effects_.build_changed = true; }

  Effects take() {
    if (!effects_.empty()) ++build_.sequence;
    return std::move(effects_);
  }

 private:
  BuildState& build_;
  Time now_;
  Effects effects_;
};

void end_steps(std::vector<StepState>& steps, StepStatus running_as, Time now) {
  for (auto& step : steps) {
    if (step.status == StepStatus::running) {
      step.status = running_as;
      step.end_time = now;
    } else if (step.status == StepStatus::waiting) {
      step.status = StepStatus::skipped;
    }
  }
}

void cancel_job(Change& change, std::size_t i, Reason reason, std::string detail) {
  auto& job = change.job(i);
  if (!target(job.status, Move::cancel)) return;
  bool active = is_active(job.status);
  job.reason = reason;
  job.detail = std::move(detail);
  end_steps(job.steps, StepStatus::canceled, change.now());
  change.move(i, Move::cancel);
  if (active) {
    change.stop(i);
    change.end_attempt(i, Outcome::canceled, reason, job.detail);
  }
}

void fail_fast(Change& change, std::size_t failed) {
  auto& spec = *change.job(failed).spec;
  if (spec.matrix.empty() || !spec.fail_fast || spec.allow_failure) return;
  for (std::size_t i = 0; i < change.build().jobs.size(); ++i)
    if (i != failed && change.job(i).spec->base_name == spec.base_name)
      cancel_job(change, i, Reason::fail_fast, "'" + spec.name + "' of the same matrix failed");
}

void advance_jobs(Change& change) {
  auto& jobs = change.build().jobs;
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    auto& job = jobs[i];
    if (job.status != JobStatus::waiting) continue;
    if (!std::ranges::all_of(job.needs, [&](std::size_t n) { return is_terminal(jobs[n].status); })) continue;
    auto verdict = judge(change.build(), job);
    if (verdict.run) {
      change.queue(i);
      change.move(i, Move::queue);
    } else {
      job.reason = verdict.reason;
      job.detail = verdict.detail;
      change.move(i, Move::skip);
    }
  }
}

BuildStatus derive(const BuildState& build) {
  bool all_ended = true, failed = false, canceled = false, begun = build.status != BuildStatus::queued;
  for (auto& job : build.jobs) {
    all_ended = all_ended && is_terminal(job.status);
    failed = failed || (job.status == JobStatus::failed && !job.spec->allow_failure);
    canceled = canceled || (job.status == JobStatus::canceled && job.reason != Reason::fail_fast);
    begun = begun || job.status == JobStatus::running || job.status == JobStatus::succeeded ||
            job.status == JobStatus::failed;
  }
  if (!all_ended) return begun ? BuildStatus::running : BuildStatus::queued;
  if (canceled && build.canceled) return BuildStatus::canceled;
  return failed || canceled ? BuildStatus::failed : BuildStatus::succeeded;
}

void settle(Change& change) {
  advance_jobs(change);
  auto& build = change.build();
  if (is_terminal(build.status)) return;
  auto status = derive(build);
  if (status == build.status) return;
  build.status = status;
  if (!build.start_time) build.start_time = change.now();
  if (is_terminal(status)) build.end_time = change.now();
  change.touch_build();
}

bool may_retry(const JobState& job, const FinishReport& report) {
  auto& retry = job.spec->retry;
  if (job.user_retries >= retry.max) return false;
  switch (report.reason) {
    case Reason::timeout: return retry.on_timeout;
    case Reason::oom: return retry.on_oom;
    default: return retry.on_failure;
  }
}

void requeue(Change& change, std::size_t i, Time not_before) {
  change.queue(i, not_before);
  change.move(i, Move::requeue);
}

void fail_attempt(Change& change, std::size_t i, Outcome outcome, Reason reason, std::string detail, bool retry,
                  Time not_before) {
  auto& job = change.job(i);
  job.reason = reason;
  job.detail = detail;
  change.end_attempt(i, outcome, reason, std::move(detail));
  if (retry) return requeue(change, i, not_before);
  change.move(i, Move::fail);
  fail_fast(change, i);
}

void lose_attempt(Change& change, std::size_t i, Reason reason, std::string detail) {
  auto& job = change.job(i);
  end_steps(job.steps, StepStatus::failed, change.now());
  bool retry = reason != Reason::refused && job.infrastructure_retries < max_infrastructure_retries;
  auto not_before = change.now() + infrastructure_backoff(job.infrastructure_retries);
  if (retry) ++job.infrastructure_retries;
  fail_attempt(change, i, Outcome::infrastructure, reason, std::move(detail), retry, not_before);
}

/// Of an attempt that never began: nobody's fault and nothing done, so it counts for nothing.
void give_back(Change& change, std::size_t i, const Lose& e) {
  if (change.job(i).status != JobStatus::assigned) return;
  change.stop(i);
  fail_attempt(change, i, Outcome::infrastructure, e.reason, e.detail, true, change.now());
}

std::vector<StepState> fresh_steps(const JobSpec& spec) {
  std::vector<StepState> steps;
  for (auto& step : spec.steps) steps.push_back({.name = step.name});
  return steps;
}

/// The user's, whoever noticed it.
bool is_own_doing(Reason reason) {
  return reason == Reason::timeout || reason == Reason::oom || reason == Reason::disk_full || reason == Reason::service;
}

using Done = Result<void>;

std::unexpected<Error> not_possible(const JobState& job, std::string_view what) {
  return fail(Errc::conflict, "job '" + job.spec->name + "' is " + std::string(to_string(job.status)) + " and cannot be " + std::string(what));
}

Done check_fence(const JobState& job, Fence fence) {
  if (fence == job.fence) return {};
  return fail(Errc::fenced, "attempt " + std::to_string(fence.value) + " of job '" + job.spec->name + "' is no longer current",
              "stop: another attempt has taken its place");
}

Done on(Change& change, std::size_t i, const Assign& e) {
  auto& job = change.job(i);
  if (job.status != JobStatus::queued) return not_possible(job, "assigned");
  job.attempt += 1;
  job.fence.value += 1;
  job.attempt_id = e.attempt;
  job.pool = e.pool;
  job.runner_id.clear();
  job.isolation.reset();
  job.reason = Reason::none;
  job.detail.clear();
  job.exit_code.reset();
  job.start_time.reset();
  job.born_at.reset();
  job.first_byte_at.reset();
  job.outputs.clear();
  job.tests.reset();
  job.log_bytes = 0;
  job.steps = fresh_steps(*job.spec);
  job.assigned_at = change.now();
  change.move(i, Move::assign);
  return {};
}

Done on(Change& change, std::size_t i, const Start& e) {
  auto& job = change.job(i);
  TRY(check_fence(job, e.fence));
  if (job.status == JobStatus::running && job.runner_id == e.runner_id) return {};
  if (job.status != JobStatus::assigned) return not_possible(job, "started");
  job.runner_id = e.runner_id;
  job.isolation = e.isolation;
  job.start_time = change.now();
  // Its clock is another: what cannot be is not said.
  if (e.born_at && job.assigned_at) job.born_at = std::clamp(*e.born_at, *job.assigned_at, std::max(*job.assigned_at, change.now()));
  change.move(i, Move::start);
  return {};
}

Done on(Change& change, std::size_t i, const ReportSteps& e) {
  auto& job = change.job(i);
  TRY(check_fence(job, e.fence));
  if (job.status != JobStatus::running)
    return fail(Errc::fenced, "job '" + job.spec->name + "' is " + std::string(to_string(job.status)), "stop: the attempt has ended");
  // A job is held once; who released it is not overruled by a report that was under way.
  auto held_until = e.held_until && job.held_until ? job.held_until : e.held_until;
  if (job.steps == e.steps && job.held_until == held_until) return {};
  change.first_byte(i, e.first_byte_at);
  job.steps = e.steps;
  if (job.held_until != held_until) job.detail = held_until ? "held for a shell until " + to_rfc3339(std::chrono::floor<std::chrono::seconds>(*held_until)) : "";
  job.held_until = held_until;
  change.touch(i);
  change.mark_steps_only();
  return {};
}

/// The runner of a canceled attempt says its last words: they complete the record and change no status.
void seal_canceled(Change& change, std::size_t i, const FinishReport& report) {
  auto& job = change.job(i);
  if (job.log_bytes == report.log_bytes) return;
  job.log_bytes = report.log_bytes;
  job.steps = report.steps;
  end_steps(job.steps, StepStatus::canceled, change.now());
  change.end_attempt(i, Outcome::canceled, job.reason, job.detail);
  change.touch(i);
}

Done on(Change& change, std::size_t i, const Finish& e) {
  auto& job = change.job(i);
  TRY(check_fence(job, e.fence));
  auto& report = e.report;
  if (job.status == JobStatus::assigned) return not_possible(job, "finished before it was started");
  if (job.status == JobStatus::canceled) {
    seal_canceled(change, i, report);
    return {};
  }
  if (job.status != JobStatus::running) return {};
  change.first_byte(i, report.first_byte_at);
  job.steps = report.steps;
  job.exit_code = report.exit_code;
  job.log_bytes = report.log_bytes;
  job.outputs = report.outputs;
  job.tests = report.tests;
  switch (report.outcome) {
    case Outcome::success:
      job.reason = Reason::none;
      job.detail.clear();
      change.end_attempt(i, Outcome::success, Reason::none, {});
      change.move(i, Move::succeed);
      return {};
    case Outcome::infrastructure:
      lose_attempt(change, i, report.reason, report.detail);
      return {};
    case Outcome::canceled:
      job.reason = Reason::canceled;
      job.detail = report.detail;
      change.end_attempt(i, Outcome::canceled, job.reason, job.detail);
      change.move(i, Move::cancel);
      return {};
    case Outcome::failure:
    case Outcome::timeout: break;
  }
  bool retry = may_retry(job, report);
  if (retry) ++job.user_retries;
  fail_attempt(change, i, report.outcome, report.reason, report.detail, retry, change.now());
  return {};
}

Done on(Change& change, std::size_t i, const Lose& e) {
  auto& job = change.job(i);
  TRY(check_fence(job, e.fence));
  if (!is_active(job.status)) return {};
  if (e.reason == Reason::pool_lost) {
    give_back(change, i, e);
    return {};
  }
  change.stop(i);
  if (is_own_doing(e.reason)) {
    end_steps(job.steps, StepStatus::failed, change.now());
    FinishReport report{.outcome = e.reason == Reason::timeout ? Outcome::timeout : Outcome::failure, .reason = e.reason};
    bool retry = may_retry(job, report);
    if (retry) ++job.user_retries;
    fail_attempt(change, i, report.outcome, e.reason, e.detail, retry, change.now());
    return {};
  }
  lose_attempt(change, i, e.reason, e.detail);
  return {};
}

Done on(Change& change, std::size_t i, const CancelJob& e) {
  cancel_job(change, i, e.reason, e.detail);
  return {};
}

Done on(Change& change, std::size_t i, const ReleaseJob& e) {
  auto& job = change.job(i);
  if (!job.held_until)
    return fail(Errc::conflict, "job '" + job.spec->name + "' is " + std::string(to_string(job.status)) + " and not held", "only a job that was asked to hold, and failed, is");
  if (*job.held_until <= change.now()) return {};
  job.held_until = change.now();
  job.detail = "released by " + e.who;
  change.touch(i);
  return {};
}

Done on(Change& change, std::size_t i, const NoteShell& e) {
  auto& job = change.job(i);
  if (e.note.opened && job.status != JobStatus::running) return not_possible(job, "looked into");
  change.note(i, e.note);
  return {};
}

Result<std::size_t> index_of(const BuildState& build, JobId id) {
  auto at = std::ranges::find(build.jobs, id, &JobState::id);
  if (at == build.jobs.end()) return fail(Errc::not_found, "build " + build.id.str() + " has no job " + id.str());
  return std::size_t(at - build.jobs.begin());
}

Done dispatch(Change& change, const CancelBuild& e) {
  auto& build = change.build();
  if (is_terminal(build.status) || build.canceled) return {};
  build.canceled = true;
  change.touch_build();
  for (std::size_t i = 0; i < build.jobs.size(); ++i) cancel_job(change, i, Reason::canceled, "canceled by " + e.who);
  return {};
}

template <class Event>
Done dispatch(Change& change, const Event& e) {
  TRY_ASSIGN(auto i, index_of(change.build(), e.job));
  return on(change, i, e);
}

}  // namespace

std::string_view to_string(JobStatus s) { return name_of(job_statuses, s); }
std::optional<JobStatus> job_status_from(std::string_view text) { return value_of(job_statuses, text); }
std::string_view to_string(BuildStatus s) { return name_of(build_statuses, s); }
std::optional<BuildStatus> build_status_from(std::string_view text) { return value_of(build_statuses, text); }

Duration infrastructure_backoff(int retries) { return std::chrono::seconds(1 << std::min(2 * retries, 6)); }

Effects begin(BuildState& build, Time now) {
  Change change(build, now);
  change.touch_build();
  settle(change);
  return change.take();
}

Result<Effects> apply(BuildState& build, const BuildEvent& event, Time now) {
  Change change(build, now);
  TRY(std::visit([&](auto& e) { return dispatch(change, e); }, event));
  settle(change);
  return change.take();
}

const JobState* find_job(const BuildState& build, JobId id) {
  auto i = index_of(build, id);
  return i ? &build.jobs[*i] : nullptr;
}

void link_needs(BuildState& build) {
  std::unordered_map<std::string_view, std::size_t> by_name;
  for (std::size_t i = 0; i < build.jobs.size(); ++i) by_name[build.jobs[i].spec->name] = i;
  for (auto& job : build.jobs) {
    job.needs.clear();
    for (auto& name : job.spec->needs) job.needs.push_back(by_name.at(name));
  }
}

}  // namespace mayfly
