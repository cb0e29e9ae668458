#include "roles/gateway/views.h"

#include "base/json.h"

namespace mayfly {
namespace {

json::value instant(std::optional<Time> t) { return t ? json::value(to_rfc3339(*t)) : json::value(nullptr); }
json::value or_null(const std::string& text) { return text.empty() ? json::value(nullptr) : json::value(text); }
template <class T>
json::value or_null(const std::optional<T>& v) {
  return v ? json::value(*v) : json::value(nullptr);
}
json::value reason_view(Reason reason) { return reason == Reason::none ? json::value(nullptr) : json::value(to_string(reason)); }

json::value isolation_view(std::optional<Isolation> isolation) { return isolation ? json::value(to_string(*isolation)) : json::value(nullptr); }

json::array steps_view(const std::vector<StepState>& steps) {
  json::array out;
  for (auto& s : steps)
    out.push_back(json::object{{"name", s.name}, {"status", to_string(s.status)}, {"exit_code", or_null(s.exit_code)},
                               {"start_time", instant(s.start_time)}, {"end_time", instant(s.end_time)},
                               {"log_start", s.log_start}, {"log_end", s.log_end}});
  return out;
}

json::value tests_view(const std::optional<TestReport>& tests) {
  if (!tests) return nullptr;
  json::array failed;
  for (auto& f : tests->failed) failed.push_back(json::object{{"suite", f.suite}, {"name", f.name}, {"message", f.message}});
  return json::object{{"tests", tests->tests}, {"failures", tests->failures}, {"errors", tests->errors},
                      {"skipped", tests->skipped}, {"time_ms", tests->time_ms}, {"failed", std::move(failed)}};
}

/// In seconds.
json::value latency_view(const BuildOrigin& origin, const JobState& job) {
  auto latency = start_latency(origin, job);
  auto seconds = [](std::optional<Duration> d) { return d ? json::value(std::chrono::duration<double>(*d).count()) : json::value(nullptr); };
  json::object out;
  for (auto hop : hops) out[to_string(hop)] = seconds(latency.of(hop));
  out["total"] = seconds(latency.total);
  return out;
}

json::object job_view(const JobState& job, const BuildOrigin& origin, const WhyWaits& why) {
  json::array needs;
  for (auto& need : job.spec->needs) needs.push_back(json::string(need));
  json::object outputs;
  for (auto& [key, value] : job.outputs) outputs[key] = value;
  auto reason = job.status == JobStatus::queued ? why.find(job.id) : why.end();
  return {{"id", job.id.str()},
          {"name", job.spec->name},
          {"status", to_string(job.status)},
          {"needs", std::move(needs)},
          {"attempt", job.attempt},
          {"reason", reason_view(job.reason)},
          {"detail", or_null(job.detail)},
          {"held_until", instant(job.held_until)},
          {"waiting_for", reason == why.end() ? json::value(nullptr) : json::value(reason->second)},
          {"image", job.spec->image},
          {"isolation", isolation_view(job.isolation)},
          {"isolation_asked", isolation_view(job.spec->isolation)},
          {"allow_failure", job.spec->allow_failure},
          {"runner_id", or_null(job.runner_id)},
          {"log_path", job.attempt_id.is_nil() ? json::value(nullptr) : json::value("/jobs/" + job.id.str() + "/logs")},
          {"exit_code", or_null(job.exit_code)},
          {"queued_at", instant(job.queued_at)},
          {"start_time", instant(job.start_time)},
          {"end_time", instant(job.end_time)},
          {"latency", latency_view(origin, job)},
          {"outputs", std::move(outputs)},
          {"tests", tests_view(job.tests)},
          {"source_job_id", job.source_job.is_nil() ? json::value(nullptr) : json::value(job.source_job.str())},
          {"steps", steps_view(job.steps)}};
}

json::object head_view(const BuildHeader& h, BuildStatus status, std::int64_t sequence, Time created, std::optional<Time> start,
                       std::optional<Time> end, std::string_view base_url) {
  json::array errors;
  for (auto& e : h.errors)
    errors.push_back(json::object{{"file", e.file}, {"line", e.line}, {"column", e.column}, {"message", e.message}, {"hint", or_null(e.hint)},
                                  {"text", to_string(e)}});
  return {{"id", h.id.str()},
          {"number", h.number},
          {"project_id", h.project.str()},
          {"status", to_string(status)},
          {"sequence", sequence},
          {"trigger_type", h.trigger_type},
          {"pipeline", or_null(h.pipeline)},
          {"ref", h.ref},
          {"commit_sha", h.commit_sha},
          {"message", h.message},
          {"author", h.author},
          {"retry_of", h.retry_of ? json::value(h.retry_of->str()) : json::value(nullptr)},
          {"errors", std::move(errors)},
          {"url", std::string(base_url) + "/b/" + h.id.str()},
          {"created_at", to_rfc3339(created)},
          {"start_time", instant(start)},
          {"end_time", instant(end)}};
}

}  // namespace

std::string build_view(const BuildRecord& build, const WhyWaits& why, std::string_view base_url) {
  auto& s = build.state;
  auto out = head_view(build.header, s.status, s.sequence, s.created_at, s.start_time, s.end_time, base_url);
  json::array jobs;
  for (auto& job : s.jobs) jobs.push_back(job_view(job, build.header.origin, why));
  out["jobs"] = std::move(jobs);
  return json::serialize(out);
}

std::string build_summary_view(const BuildSummary& b, std::string_view base_url) {
  return json::serialize(head_view(b.header, b.status, b.sequence, b.created_at, b.start_time, b.end_time, base_url));
}

std::string project_view(const Project& p) {
  return json::serialize(json::object{{"id", p.id.str()}, {"name", p.name}, {"organization", p.organization_name},
                                      {"repo_url", without_credentials(p.repo_url)}, {"weight", p.weight}, {"created_at", to_rfc3339(p.created_at)}});
}

std::string artifact_view(const Artifact& a, std::string_view job_name) {
  return json::serialize(json::object{{"id", a.id.str()}, {"build_id", a.owner.build.str()}, {"job_id", a.owner.job.str()}, {"job", job_name},
                                      {"path", a.path}, {"size", a.size}, {"sha256", a.sha256}, {"created_at", to_rfc3339(a.created_at)},
                                      {"expires_at", instant(a.expires_at)}});
}

std::string_view pool_state(const PoolRecord& pool, const PoolLoad& load) {
  if (pool.drained_at) return load.assigned + load.running > 0 ? "draining" : "drained";
  return pool.silent_since ? "silent" : "active";
}

std::string pool_view(const PoolRecord& pool, const PoolLoad& load, const std::optional<PoolNumbers>& numbers) {
  auto amounts = [](const scheduling::Resources& r) {
    return json::object{{"cpu_milli", r.cpu_milli}, {"memory_bytes", r.memory_bytes}, {"slots", r.slots}};
  };
  auto& state = pool.state;
  json::array isolations;
  for (auto isolation : state.isolations) isolations.push_back(json::value(to_string(isolation)));
  json::object out{{"name", state.name},
                   {"state", pool_state(pool, load)},
                   {"executor", pool.executor},
                   {"labels", json::array(state.labels.begin(), state.labels.end())},
                   {"isolations", std::move(isolations)},
                   {"isolation_floor", to_string(state.floor)},
                   {"fork_isolation_floor", to_string(state.fork_floor)},
                   {"capacity", amounts(state.capacity)},
                   {"used", numbers ? json::value(amounts(numbers->used)) : json::value(nullptr)},
                   {"assigned", load.assigned},
                   {"running", load.running},
                   {"waiting", numbers ? json::value(numbers->waiting) : json::value(nullptr)},
                   {"longest_wait_seconds", numbers ? json::value(std::chrono::duration<double>(numbers->longest).count()) : json::value(nullptr)},
                   {"warm", pool.warm},
                   {"keeper", or_null(pool.keeper)},
                   {"silent_since", instant(pool.silent_since)},
                   {"drained_by", or_null(pool.drained_by)},
                   {"drained_at", instant(pool.drained_at)}};
  return json::serialize(out);
}

std::string delivery_view(const DeliveryRecord& d) {
  return json::serialize(json::object{{"id", d.id.str()}, {"project_id", d.project.str()}, {"provider", d.provider}, {"provider_id", d.provider_id},
                                      {"event", d.event}, {"status", d.status}, {"detail", or_null(d.detail)},
                                      {"build_id", d.build ? json::value(d.build->str()) : json::value(nullptr)}, {"received_at", to_rfc3339(d.received_at)}});
}

std::string page_view(const std::vector<std::string>& items, const std::optional<std::string>& next) {
  std::string out = "{\"items\":[";
  for (std::size_t i = 0; i < items.size(); ++i) out += (i ? "," : "") + items[i];
  return out + "],\"next\":" + (next ? json::serialize(json::string(*next)) : "null") + "}";
}

}  // namespace mayfly
