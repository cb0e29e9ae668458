#include "roles/builds/records.h"

#include <charconv>
#include <cstdio>

#include "base/digest.h"
#include "base/json.h"
#include "ports/bus.h"
#include "roles/builds/columns.h"
#include "roles/builds/job_event.h"

namespace mayfly {
namespace {

constexpr std::string_view select_build = R"sql(
select id, project_id, organization_id, number, status, sequence, canceled, trigger_type, event, ref, commit_sha, message,
       author, pipeline, errors, retry_of, created_at, start_time, end_time, received_at, planned_from
from builds where id = $1)sql";

// With the sequence they belong to: between this read and the build's own, others may have changed both.
constexpr std::string_view select_jobs = R"sql(
select jobs.id, jobs.spec, jobs.status, jobs.reason, jobs.detail, jobs.attempt, jobs.fence, jobs.attempt_id, jobs.pool, jobs.runner_id,
       jobs.infrastructure_retries, jobs.user_retries, jobs.not_before, jobs.queued_at, jobs.assigned_at, jobs.start_time, jobs.end_time,
       jobs.exit_code, jobs.outputs, jobs.steps, jobs.tests, jobs.log_bytes, jobs.source_job_id, jobs.isolation, jobs.born_at, jobs.first_byte_at, jobs.held_until, builds.sequence
from jobs join builds on builds.id = jobs.build_id where jobs.build_id = $1 order by jobs.position)sql";

constexpr std::string_view select_sequence = "select sequence from builds where id = $1";

constexpr std::string_view take_number = "update projects set next_number = next_number + 1 where id = $1 and deleted_at is null";

constexpr std::string_view insert_build_row = R"sql(
insert into builds (id, project_id, organization_id, number, status, sequence, canceled, trigger_type, event, ref, commit_sha,
                    message, author, pipeline, errors, meaning, retry_of, created_at, start_time, end_time, received_at, planned_from)
select $1, $2, $3, next_number - 1, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21
from projects where id = $2 returning number)sql";

constexpr std::string_view insert_job_row = R"sql(
insert into jobs (id, build_id, position, name, spec, status, reason, detail, attempt, fence, attempt_id, pool, runner_id,
                  infrastructure_retries, user_retries, not_before, queued_at, assigned_at, start_time, end_time, exit_code,
                  outputs, steps, tests, log_bytes, log_path, source_job_id)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27))sql";

// The first condition is the compare-and-set: the build stands where the change was decided.
constexpr std::string_view advance_build = R"sql(
update builds set sequence = $3, status = $4, canceled = $5, start_time = $6, end_time = $7 where id = $1 and sequence = $2)sql";

constexpr std::string_view update_job = R"sql(
update jobs set status = $3, reason = $4, detail = $5, attempt = $6, fence = $7, attempt_id = $8, pool = $9, runner_id = $10,
                infrastructure_retries = $11, user_retries = $12, not_before = $13, queued_at = $14, assigned_at = $15,
                start_time = $16, end_time = $17, exit_code = $18, outputs = $19, steps = $20, tests = $21, log_bytes = $22,
                log_path = $23, isolation = $24, born_at = $25, first_byte_at = $26, held_until = $27
where id = $1 and fence <= $2)sql";

constexpr std::string_view upsert_attempt = R"sql(
insert into attempts (id, job_id, build_id, number, fence, pool, runner_id, outcome, reason, detail, exit_code, assigned_at,
                      start_time, end_time, log_bytes, steps, isolation)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
on conflict (id) do update set runner_id = excluded.runner_id, isolation = excluded.isolation, outcome = excluded.outcome, reason = excluded.reason,
  detail = excluded.detail, exit_code = excluded.exit_code, start_time = excluded.start_time, end_time = excluded.end_time,
  log_bytes = excluded.log_bytes, steps = excluded.steps)sql";

constexpr std::string_view insert_event = "insert into events (build_id, sequence, part, at, kind, body) values ($1, $2, $3, $4, $5, $6)";
constexpr std::string_view insert_outbox = "insert into outbox (id, topic, key, payload) values ($1, $2, $3, $4)";

constexpr std::string_view select_live = "select id, build_id, status, attempt_id from jobs where status in ('queued', 'assigned', 'running') order by id";
constexpr std::string_view select_of_pool = "select id, build_id, status, attempt_id from jobs where status in ('assigned', 'running') and pool = $1 order by id";
constexpr std::string_view select_loads = "select pool, status, count(*) from jobs where status in ('assigned', 'running') group by pool, status";
constexpr std::string_view select_build_of_job = "select build_id from jobs where id = $1";
constexpr std::string_view select_attempt = "select id, job_id, build_id, fence, pool from attempts where id = $1";

constexpr std::size_t sequence_column = 27;
constexpr int max_load_tries = 20;

std::unexpected<Error> no_build(BuildId id) { return fail(Errc::not_found, "there is no build " + id.str()); }

template <class T>
std::optional<T> unless_nil(T id) {
  return id.is_nil() ? std::nullopt : std::optional(id);
}

Result<JobState> job_from(const Row& row) {
  JobState job;
  job.id = id_at<JobId>(row, 0);
  TRY_ASSIGN(auto spec, job_spec_from_json(text_at(row, 1)));
  job.spec = std::make_shared<const JobSpec>(std::move(spec));
  auto status = job_status_from(text_at(row, 2));
  auto reason = reason_from(text_at(row, 3));
  if (!status || !reason) return fail(Errc::corrupt, "job " + job.id.str() + " has an unknown status");
  job.status = *status;
  job.reason = *reason;
  job.detail = text_at(row, 4);
  job.attempt = int(int_at(row, 5));
  job.fence.value = int_at(row, 6);
  if (!null_at(row, 7)) job.attempt_id = id_at<AttemptId>(row, 7);
  job.pool = text_at(row, 8);
  job.runner_id = text_at(row, 9);
  job.infrastructure_retries = int(int_at(row, 10));
  job.user_retries = int(int_at(row, 11));
  job.not_before = time_at(row, 12);
  job.queued_at = optional_time_at(row, 13);
  job.assigned_at = optional_time_at(row, 14);
  job.start_time = optional_time_at(row, 15);
  job.end_time = optional_time_at(row, 16);
  if (!null_at(row, 17)) job.exit_code = int(int_at(row, 17));
  TRY_ASSIGN(job.outputs, map_from_column(text_at(row, 18)));
  TRY_ASSIGN(job.steps, steps_from_column(text_at(row, 19)));
  if (!null_at(row, 20)) {
    TRY_ASSIGN(auto tests, tests_from_column(text_at(row, 20)));
    job.tests = std::move(tests);
  }
  job.log_bytes = int_at(row, 21);
  if (!null_at(row, 22)) job.source_job = id_at<JobId>(row, 22);
  job.isolation = isolation_from(text_at(row, 23));
  job.born_at = optional_time_at(row, 24);
  job.first_byte_at = optional_time_at(row, 25);
  job.held_until = optional_time_at(row, 26);
  return job;
}

Result<BuildRecord> build_from(const Row& row) {
  BuildRecord record;
  auto& h = record.header;
  auto& s = record.state;
  s.id = h.id = id_at<BuildId>(row, 0);
  s.project = h.project = id_at<ProjectId>(row, 1);
  s.organization = h.organization = id_at<OrganizationId>(row, 2);
  h.number = int_at(row, 3);
  auto status = build_status_from(text_at(row, 4));
  if (!status) return fail(Errc::corrupt, "build " + h.id.str() + " has an unknown status");
  s.status = *status;
  s.sequence = int_at(row, 5);
  s.canceled = int_at(row, 6) != 0;
  h.trigger_type = text_at(row, 7);
  TRY_ASSIGN(s.event, event_from_column(text_at(row, 8)));
  h.ref = text_at(row, 9);
  h.commit_sha = text_at(row, 10);
  h.message = text_at(row, 11);
  h.author = text_at(row, 12);
  h.pipeline = text_at(row, 13);
  TRY_ASSIGN(h.errors, errors_from_column(text_at(row, 14)));
  if (!null_at(row, 15)) h.retry_of = id_at<BuildId>(row, 15);
  s.created_at = time_at(row, 16);
  s.start_time = optional_time_at(row, 17);
  s.end_time = optional_time_at(row, 18);
  h.origin = {optional_time_at(row, 19), optional_time_at(row, 20)};
  return record;
}

std::optional<std::string> log_path(const JobState& job) {
  if (job.attempt_id.is_nil()) return std::nullopt;
  return "logs/" + job.attempt_id.str();
}

std::string_view isolation_column(const JobState& job) { return job.isolation ? to_string(*job.isolation) : ""; }

Statement job_insert(const BuildState& build, std::size_t i) {
  auto& job = build.jobs[i];
  return statement(insert_job_row, job.id, build.id, std::int64_t(i), job.spec->name, job_spec_to_json(*job.spec),
                   to_string(job.status), to_string(job.reason), job.detail, std::int64_t(job.attempt), job.fence,
                   unless_nil(job.attempt_id), job.pool, job.runner_id, std::int64_t(job.infrastructure_retries),
                   std::int64_t(job.user_retries), job.not_before, job.queued_at, job.assigned_at, job.start_time,
                   job.end_time, job.exit_code.transform([](int c) { return std::int64_t(c); }), map_to_column(job.outputs),
                   steps_to_column(job.steps), job.tests.transform(tests_to_column), job.log_bytes, log_path(job),
                   unless_nil(job.source_job));
}

Statement job_update(const JobState& job) {
  return expect_one(update_job, job.id, job.fence, to_string(job.status), to_string(job.reason), job.detail,
                    std::int64_t(job.attempt), job.fence, unless_nil(job.attempt_id), job.pool, job.runner_id,
                    std::int64_t(job.infrastructure_retries), std::int64_t(job.user_retries), job.not_before, job.queued_at,
                    job.assigned_at, job.start_time, job.end_time,
                    job.exit_code.transform([](int c) { return std::int64_t(c); }), map_to_column(job.outputs),
                    steps_to_column(job.steps), job.tests.transform(tests_to_column), job.log_bytes, log_path(job),
                    isolation_column(job), job.born_at, job.first_byte_at, job.held_until);
}

Statement attempt_begun(const BuildState& build, const JobState& job) {
  return statement(upsert_attempt, job.attempt_id, job.id, build.id, std::int64_t(job.attempt), job.fence, job.pool,
                   job.runner_id, Value{}, "", "", Value{}, job.assigned_at.value_or(Time{}), job.start_time, Value{},
                   std::int64_t(0), steps_to_column(job.steps), isolation_column(job));
}

Statement attempt_ended(const BuildState& build, const EndedAttempt& ended, Time now) {
  auto& job = build.jobs[ended.job];
  return statement(upsert_attempt, ended.attempt, job.id, build.id, std::int64_t(ended.number), ended.fence, job.pool,
                   job.runner_id, to_string(ended.outcome), to_string(ended.reason), ended.detail,
                   ended.exit_code.transform([](int c) { return std::int64_t(c); }), job.assigned_at.value_or(Time{}),
                   job.start_time, now, ended.log_bytes, steps_to_column(ended.steps), isolation_column(job));
}

json::value instant(std::optional<Time> t) { return t ? json::value(to_rfc3339(*t)) : json::value(nullptr); }

std::string build_event(const BuildState& build) {
  return json::serialize(json::object{{"id", build.id.str()}, {"status", to_string(build.status)}, {"sequence", build.sequence},
                                      {"start_time", instant(build.start_time)}, {"end_time", instant(build.end_time)}});
}

json::array steps_view(const std::vector<StepState>& steps) {
  json::array out;
  for (auto& s : steps)
    out.push_back(json::object{{"name", s.name}, {"status", to_string(s.status)},
                               {"exit_code", s.exit_code ? json::value(*s.exit_code) : json::value(nullptr)},
                               {"start_time", instant(s.start_time)}, {"end_time", instant(s.end_time)},
                               {"log_start", s.log_start}, {"log_end", s.log_end}});
  return out;
}

std::string job_history(const BuildState& build, const JobState& job) {
  return json::serialize(json::object{
      {"id", job.id.str()}, {"name", job.spec->name}, {"status", to_string(job.status)}, {"sequence", build.sequence},
      {"attempt", job.attempt}, {"reason", job.reason == Reason::none ? json::value(nullptr) : json::value(to_string(job.reason))},
      {"detail", job.detail}, {"held_until", instant(job.held_until)}, {"start_time", instant(job.start_time)}, {"end_time", instant(job.end_time)},
      {"steps", steps_view(job.steps)}});
}

std::string shell_history(const JobState& job, const ShellNote& note) {
  json::object out{{"job", job.id.str()}, {"name", job.spec->name}, {"shell", note.shell}, {"who", note.who}, {"attempt", note.attempt},
                   {"what", note.opened ? "opened" : "closed"}};
  if (!note.opened) {
    out["seconds"] = double(note.open_for / std::chrono::milliseconds(1)) / 1000;
    out["exit_code"] = note.exit_code ? json::value(*note.exit_code) : json::value(nullptr);
    out["detail"] = note.detail;
  }
  return json::serialize(out);
}

/// Appends history and outbox rows for one change.
class Announcer {
 public:
  Announcer(const BuildState& build, Clock& clock, Entropy& entropy, Change& change)
      : build_(build), clock_(clock), entropy_(entropy), change_(change) {}

  void history(std::string_view kind, std::string body) {
    change_.unit.push_back(statement(insert_event, build_.id, build_.sequence, part_++, clock_.now(), kind, std::move(body)));
  }

  void outbox(std::string_view topic, std::string key, std::string payload) {
    OutboxRow row{outbox_id(), std::string(topic), std::move(key), std::move(payload)};
    change_.unit.push_back(statement(insert_outbox, row.id, row.topic, row.key, row.payload));
    change_.outbox.push_back(std::move(row));
  }

  void announce(const Effects& effects) {
    if (effects.build_changed) history("build", build_event(build_));
    json::array ended;
    for (auto i : effects.changed) {
      auto& job = build_.jobs[i];
      history(effects.steps_only ? "step" : "job", job_history(build_, job));
      if (job.status == JobStatus::assigned)
        outbox(topic::assignments, job.pool, json::serialize(json::object{{"start", job.attempt_id.str()}, {"build_id", build_.id.str()}}));
    }
    for (auto& [job, note] : effects.shells) history("shell", shell_history(build_.jobs[job], note));
    for (auto i : effects.queued) outbox(topic::jobs, build_.project.str(), job_event(build_.id, build_.jobs[i].id, *build_.jobs[i].spec));
    for (auto& stop : effects.stops)
      outbox(topic::assignments, stop.pool, json::serialize(json::object{{"stop", stop.attempt.str()}}));
    for (auto& e : effects.ended) ended.push_back(json::string(build_.jobs[e.job].id.str()));
    outbox(topic::events, build_.id.str(),
           json::serialize(json::object{{"build_id", build_.id.str()}, {"sequence", build_.sequence}, {"released", std::move(ended)}}));
  }

 private:
  /// Sorts by time, then by place in the unit: the order in which the relay publishes.
  std::string outbox_id() {
    std::array<std::uint8_t, 6> random;
    entropy_.fill(random);
    char head[32];
    std::snprintf(head, sizeof head, "-%05x-", unsigned(row_++));
    return outbox_id_at(clock_.now()) + head + to_hex(random);
  }

  const BuildState& build_;
  Clock& clock_;
  Entropy& entropy_;
  Change& change_;
  std::int64_t part_ = 0;
  unsigned row_ = 0;
};

}  // namespace

void hold_on_failure(BuildRecord& record, Duration hold) {
  for (auto& job : record.state.jobs) {
    if (job.spec->hold == hold) continue;
    auto spec = std::make_shared<JobSpec>(*job.spec);
    spec->hold = hold;
    job.spec = std::move(spec);
  }
}

Task<Result<BuildRecord>> load_build(Database& db, BuildId id) {
  for (int i = 0; i < max_load_tries; ++i) {
    CO_TRY_ASSIGN(auto builds, co_await db.query(statement(select_build, id)));
    if (builds.rows.empty()) co_return no_build(id);
    CO_TRY_ASSIGN(auto record, build_from(builds.rows[0]));
    CO_TRY_ASSIGN(auto jobs, co_await db.query(statement(select_jobs, id)));
    if (!jobs.rows.empty() && int_at(jobs.rows[0], sequence_column) != record.state.sequence) continue;
    for (auto& row : jobs.rows) {
      CO_TRY_ASSIGN(auto job, job_from(row));
      record.state.jobs.push_back(std::move(job));
    }
    link_needs(record.state);
    co_return record;
  }
  co_return fail(Errc::unavailable, "build " + id.str() + " changes faster than it can be read", "try again");
}

Task<Result<std::int64_t>> sequence_of_build(Database& db, BuildId id) {
  CO_TRY_ASSIGN(auto found, co_await db.query(statement(select_sequence, id)));
  if (found.rows.empty()) co_return no_build(id);
  co_return int_at(found.rows[0], 0);
}

std::string outbox_id_at(Time at) {
  char text[20];
  std::snprintf(text, sizeof text, "%016llx", (unsigned long long)to_micros(at));
  return text;
}

std::optional<Time> outbox_time(std::string_view id) {
  std::int64_t micros = 0;
  auto [end, ec] = std::from_chars(id.data(), id.data() + id.size(), micros, 16);
  return ec == std::errc{} ? std::optional(from_micros(micros)) : std::nullopt;
}

Change insert_build(const BuildRecord& record, const Effects& effects, Clock& clock, Entropy& entropy) {
  auto& h = record.header;
  auto& s = record.state;
  Change change;
  auto& unit = change.unit;
  unit.push_back(expect_one(take_number, h.project));
  unit.push_back(expect_one(insert_build_row, h.id, h.project, h.organization, to_string(s.status), s.sequence, s.canceled,
                            h.trigger_type, event_to_column(s.event), h.ref, h.commit_sha, h.message, h.author, h.pipeline,
                            errors_to_column(h.errors), h.meaning, h.retry_of, s.created_at, s.start_time, s.end_time,
                            h.origin.received_at, h.origin.planned_from));
  for (std::size_t i = 0; i < s.jobs.size(); ++i) unit.push_back(job_insert(s, i));
  Announcer(s, clock, entropy, change).announce(effects);
  return change;
}

Change store_change(const BuildState& after, const Effects& effects, std::int64_t from_sequence, Clock& clock, Entropy& entropy) {
  Change change;
  auto& unit = change.unit;
  unit.push_back(expect_one(advance_build, after.id, from_sequence, after.sequence, to_string(after.status), after.canceled,
                            after.start_time, after.end_time));
  for (auto i : effects.changed) {
    auto& job = after.jobs[i];
    unit.push_back(job_update(job));
    if (job.status == JobStatus::assigned || job.status == JobStatus::running) unit.push_back(attempt_begun(after, job));
  }
  for (auto& ended : effects.ended) unit.push_back(attempt_ended(after, ended, clock.now()));
  Announcer(after, clock, entropy, change).announce(effects);
  return change;
}

namespace {

std::vector<LiveJob> live_from(const Rows& found) {
  std::vector<LiveJob> out;
  for (auto& row : found.rows)
    out.push_back({id_at<JobId>(row, 0), id_at<BuildId>(row, 1), job_status_from(text_at(row, 2)).value_or(JobStatus::queued),
                   AttemptId::parse(text_at(row, 3)).value_or(AttemptId{})});
  return out;
}

}  // namespace

Task<Result<std::vector<LiveJob>>> live_jobs(Database& db) {
  CO_TRY_ASSIGN(auto found, co_await db.query(statement(select_live)));
  co_return live_from(found);
}

Task<Result<std::vector<LiveJob>>> jobs_of_pool(Database& db, std::string pool) {
  CO_TRY_ASSIGN(auto found, co_await db.query(statement(select_of_pool, pool)));
  co_return live_from(found);
}

Task<Result<std::map<std::string, PoolLoad>>> pool_loads(Database& db) {
  CO_TRY_ASSIGN(auto found, co_await db.query(statement(select_loads)));
  std::map<std::string, PoolLoad> out;
  for (auto& row : found.rows) {
    auto& load = out[text_at(row, 0)];
    (text_at(row, 1) == "running" ? load.running : load.assigned) = int_at(row, 2);
  }
  co_return out;
}

Task<Result<BuildId>> build_of_job(Database& db, JobId job) {
  CO_TRY_ASSIGN(auto found, co_await db.query(statement(select_build_of_job, job)));
  if (found.rows.empty()) co_return fail(Errc::not_found, "there is no job " + job.str());
  co_return id_at<BuildId>(found.rows[0], 0);
}

Task<Result<AttemptKey>> find_attempt(Database& db, AttemptId attempt) {
  CO_TRY_ASSIGN(auto found, co_await db.query(statement(select_attempt, attempt)));
  if (found.rows.empty()) co_return fail(Errc::not_found, "there is no attempt " + attempt.str());
  auto& row = found.rows[0];
  co_return AttemptKey{id_at<AttemptId>(row, 0), id_at<JobId>(row, 1), id_at<BuildId>(row, 2), Fence{int_at(row, 3)}, text_at(row, 4)};
}

}  // namespace mayfly
