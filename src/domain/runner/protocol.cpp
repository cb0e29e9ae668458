#include "domain/runner/protocol.h"

#include <limits>

#include "domain/runner/json_forms.h"

namespace mayfly {
namespace {

using forms::Reader;

constexpr std::int64_t max_instant_us = 253'402'300'800'000'000;   // the year 10000
constexpr std::size_t max_test_failures = 100;
constexpr std::size_t max_test_message_bytes = 4 << 10;

json::value form(const SourceRef& s) {
  return json::object{{"repository", s.repository}, {"sha", s.sha}, {"ref", s.ref},
                      {"checkout", json::object{{"enabled", s.checkout.enabled}, {"depth", s.checkout.depth}, {"submodules", s.checkout.submodules}}}};
}

Result<CheckoutSpec> checkout_spec(const json::value& v, std::string path) {
  CheckoutSpec c;
  Reader read(v, std::move(path));
  read.optional("enabled", c.enabled);
  std::int64_t depth = c.depth;
  read.optional("depth", depth);
  if (depth < 0 || depth > std::numeric_limits<int>::max()) read.set_wrong("depth", "0 or more");
  c.depth = static_cast<int>(depth);
  read.optional("submodules", c.submodules);
  return read.done(c);
}

Result<SourceRef> source_ref(const json::value& v, std::string path) {
  SourceRef s;
  Reader read(v, std::move(path));
  read.required("repository", s.repository);
  read.required("sha", s.sha);
  read.optional("ref", s.ref);
  read.required("checkout", s.checkout, checkout_spec);
  return read.done(std::move(s));
}

json::value form(const NeededArtifact& a) {
  return json::object{{"id", a.id}, {"kind", a.kind}, {"path", a.path}, {"size", a.size}, {"sha256", a.sha256}};
}

Result<NeededArtifact> needed_artifact(const json::value& v, std::string path) {
  NeededArtifact a;
  Reader read(v, std::move(path));
  read.required("id", a.id);
  read.required("kind", a.kind);
  read.required("path", a.path);
  read.required("size", a.size);
  read.required("sha256", a.sha256);
  if (a.kind != "artifact" && a.kind != "outputs") read.set_wrong("kind", "artifact or outputs");
  if (a.size < 0) read.set_wrong("size", "0 or more");
  return read.done(std::move(a));
}

json::value form(const NeededJob& n) {
  json::array artifacts;
  for (auto& a : n.artifacts) artifacts.push_back(form(a));
  return json::object{{"name", n.name}, {"status", n.status}, {"outputs", forms::strings(n.outputs)}, {"artifacts", std::move(artifacts)}};
}

Result<NeededJob> needed_job(const json::value& v, std::string path) {
  NeededJob n;
  Reader read(v, std::move(path));
  read.required("name", n.name);
  read.required("status", n.status);
  read.optional("outputs", n.outputs);
  read.each("artifacts", n.artifacts, needed_artifact);
  return read.done(std::move(n));
}

json::value form(const TriggerEvent& e) {
  json::object out{{"event", e.event}, {"ref", e.ref}, {"sha", e.sha}, {"base_ref", e.base_ref}, {"fork", e.fork},
                   {"inputs", forms::strings(e.inputs)}, {"file_hashes", forms::strings(e.file_hashes)}};
  if (e.pull_request) out["pull_request"] = *e.pull_request;
  if (e.changed_paths) out["changed_paths"] = forms::strings(*e.changed_paths);
  return out;
}

Result<TriggerEvent> trigger_event(const json::value& v, std::string path) {
  TriggerEvent e;
  Reader read(v, std::move(path));
  read.required("event", e.event);
  read.optional("ref", e.ref);
  read.optional("sha", e.sha);
  read.optional("base_ref", e.base_ref);
  read.optional("pull_request", e.pull_request);
  read.optional("fork", e.fork);
  read.optional("inputs", e.inputs);
  if (auto* paths = find(v, "changed_paths"); paths && !paths->is_null()) read.optional("changed_paths", e.changed_paths.emplace());
  read.optional("file_hashes", e.file_hashes);
  return read.done(std::move(e));
}

Result<JobSpec> job_spec(const json::value& v, std::string path) {
  auto spec = job_spec_from_json(json::serialize(v));
  if (!spec) return fail(Errc::invalid, "'" + path + "': " + spec.error().message);
  return spec;
}

json::value form(const RunnerJob& j) {
  json::array needs;
  for (auto& n : j.needs) needs.push_back(form(n));
  return json::object{{"spec", json::parse(job_spec_to_json(j.spec))}, {"env", forms::strings(j.env)}, {"secrets", forms::strings(j.secrets)},
                      {"source", form(j.source)}, {"needs", std::move(needs)}, {"event", form(j.event)}};
}

Result<RunnerJob> runner_job(const json::value& v, std::string path) {
  RunnerJob j;
  Reader read(v, std::move(path));
  read.required("spec", j.spec, job_spec);
  read.optional("env", j.env);
  read.optional("secrets", j.secrets);
  read.required("source", j.source, source_ref);
  read.each("needs", j.needs, needed_job);
  read.required("event", j.event, trigger_event);
  return read.done(std::move(j));
}

json::array form(const std::vector<StepState>& steps) {
  json::array out;
  for (auto& s : steps) out.push_back(forms::form(s));
  return out;
}

json::value form(const TestReport& t) {
  json::array failed;
  for (auto& f : t.failed) failed.push_back(json::object{{"suite", f.suite}, {"name", f.name}, {"message", f.message}});
  return json::object{{"tests", t.tests}, {"failures", t.failures}, {"errors", t.errors}, {"skipped", t.skipped}, {"time_ms", t.time_ms}, {"failed", std::move(failed)}};
}

Result<TestFailure> test_failure(const json::value& v, std::string path) {
  TestFailure f;
  Reader read(v, std::move(path));
  read.required("suite", f.suite);
  read.required("name", f.name);
  read.required("message", f.message);
  if (f.message.size() > max_test_message_bytes) read.set_wrong("message", "at most 4096 bytes");
  return read.done(std::move(f));
}

void count(Reader& read, std::string_view key, std::int64_t& into) {
  read.required(key, into);
  if (into < 0) read.set_wrong(key, "0 or more");
}

Result<TestReport> test_report(const json::value& v, std::string path) {
  TestReport t;
  Reader read(v, std::move(path));
  count(read, "tests", t.tests);
  count(read, "failures", t.failures);
  count(read, "errors", t.errors);
  count(read, "skipped", t.skipped);
  count(read, "time_ms", t.time_ms);
  read.each("failed", t.failed, test_failure);
  if (t.failed.size() > max_test_failures) read.set_wrong("failed", "at most 100 tests");
  return read.done(std::move(t));
}

Result<Outcome> outcome(const json::value& v, std::string path) {
  auto* text = v.if_string();
  auto known = text ? outcome_from(*text) : std::nullopt;
  if (!known) return forms::wrong(path, "success, failure, timeout, canceled or infrastructure");
  return *known;
}

Result<Reason> reason(const json::value& v, std::string path) {
  auto* text = v.if_string();
  auto known = text ? reason_from(*text) : std::nullopt;
  if (!known) return forms::wrong(path, "a reason");
  return *known;
}

void read_steps(Reader& read, std::vector<StepState>& steps) { read.each("steps", steps, forms::step_state); }

/// Microseconds. One that cannot be is as one that is not there: it says nothing that anything hangs on.
void read_instant(Reader& read, const char* name, std::optional<Time>& into) {
  std::optional<std::int64_t> micros;
  read.optional(name, micros);
  if (micros && *micros > 0 && *micros < max_instant_us) into = from_micros(*micros);
}

}  // namespace

std::string to_json(const StartRequest& r) {
  json::object out{{"boot_token", r.boot_token}, {"identity", r.identity}, {"runner_id", r.runner_id}};
  if (r.isolation) out["isolation"] = to_string(*r.isolation);
  if (r.born_at) out["born_us"] = to_micros(*r.born_at);
  return json::serialize(out);
}

Result<StartRequest> start_request_from_json(std::string_view text) {
  TRY_ASSIGN(auto v, parse_json(text));
  StartRequest r;
  Reader read(v, "");
  read.optional("identity", r.identity);
  if (r.identity.empty()) read.required("boot_token", r.boot_token);
  read.required("runner_id", r.runner_id);
  read_instant(read, "born_us", r.born_at);
  std::string isolation;
  read.optional("isolation", isolation);
  r.isolation = isolation_from(isolation);
  if (!isolation.empty() && !r.isolation) return forms::wrong("isolation", "sandbox, runc, gvisor or kata");
  return read.done(std::move(r));
}

std::string to_json(const StartAnswer& a) {
  return json::serialize(json::object{{"attempt_token", a.attempt_token}, {"fence", a.fence.value}, {"job", form(a.job)}});
}

Result<StartAnswer> start_answer_from_json(std::string_view text) {
  TRY_ASSIGN(auto v, parse_json(text));
  StartAnswer a;
  Reader read(v, "");
  read.required("attempt_token", a.attempt_token);
  read.required("fence", a.fence.value);
  read.required("job", a.job, runner_job);
  return read.done(std::move(a));
}

std::string to_json(const RunnerJob& j) { return json::serialize(form(j)); }

Result<RunnerJob> runner_job_from_json(std::string_view text) {
  TRY_ASSIGN(auto v, parse_json(text));
  return runner_job(v, "");
}

std::string to_json(const HeartbeatRequest& r) { return json::serialize(json::object{{"wait_ms", r.wait_ms}}); }

Result<HeartbeatRequest> heartbeat_request_from_json(std::string_view text) {
  TRY_ASSIGN(auto v, parse_json(text));
  HeartbeatRequest r;
  Reader read(v, "");
  read.optional("wait_ms", r.wait_ms);
  if (r.wait_ms < 0) read.set_wrong("wait_ms", "0 or more");
  return read.done(r);
}

std::string to_json(const HeartbeatAnswer& a) {
  return json::serialize(json::object{{"cancel", a.cancel}, {"grace_ms", a.grace_ms}, {"durable", a.durable}, {"shells", forms::strings(a.shells)}, {"release", a.release}});
}

Result<HeartbeatAnswer> heartbeat_answer_from_json(std::string_view text) {
  TRY_ASSIGN(auto v, parse_json(text));
  HeartbeatAnswer a;
  Reader read(v, "");
  read.required("cancel", a.cancel);
  read.optional("grace_ms", a.grace_ms);
  read.optional("durable", a.durable);
  read.optional("shells", a.shells);
  read.optional("release", a.release);
  if (a.grace_ms < 0) read.set_wrong("grace_ms", "0 or more");
  if (a.durable < 0) read.set_wrong("durable", "0 or more");
  return read.done(a);
}

std::string to_json(const LogsAnswer& a) { return json::serialize(json::object{{"next", a.next}, {"durable", a.durable}}); }

Result<LogsAnswer> logs_answer_from_json(std::string_view text) {
  TRY_ASSIGN(auto v, parse_json(text));
  LogsAnswer a;
  Reader read(v, "");
  count(read, "next", a.next);
  count(read, "durable", a.durable);
  return read.done(a);
}

std::string to_json(const NewUpload& u) {
  return json::serialize(json::object{{"kind", u.kind}, {"path", u.path}, {"size", u.size}, {"sha256", u.sha256}});
}

Result<NewUpload> new_upload_from_json(std::string_view text) {
  TRY_ASSIGN(auto v, parse_json(text));
  NewUpload u;
  Reader read(v, "");
  read.required("kind", u.kind);
  read.required("path", u.path);
  count(read, "size", u.size);
  read.required("sha256", u.sha256);
  return read.done(std::move(u));
}

std::string to_json(const PreparedUpload& p) {
  if (p.url.empty()) return "{}";
  json::array headers;
  for (auto& [name, value] : p.headers) headers.push_back(json::array{name, value});
  return json::serialize(json::object{{"id", p.id}, {"url", p.url}, {"headers", std::move(headers)}});
}

Result<PreparedUpload> prepared_upload_from_json(std::string_view text) {
  TRY_ASSIGN(auto v, parse_json(text));
  PreparedUpload p;
  Reader read(v, "");
  read.optional("id", p.id);
  read.optional("url", p.url);
  read.each("headers", p.headers, [](const json::value& pair, std::string path) -> Result<std::pair<std::string, std::string>> {
    auto* both = pair.if_array();
    if (!both || both->size() != 2 || !both->at(0).is_string() || !both->at(1).is_string()) return forms::wrong(path, "a name and a value");
    return std::pair<std::string, std::string>(both->at(0).as_string(), both->at(1).as_string());
  });
  return read.done(std::move(p));
}

std::string to_json(const UploadCommit& c) { return json::serialize(json::object{{"id", c.id}}); }

Result<UploadCommit> upload_commit_from_json(std::string_view text) {
  TRY_ASSIGN(auto v, parse_json(text));
  UploadCommit c;
  Reader read(v, "");
  read.required("id", c.id);
  return read.done(std::move(c));
}

std::string to_json(const StepsReport& r) {
  json::object out{{"steps", form(r.steps)}};
  if (r.first_byte_at) out["first_byte_us"] = to_micros(*r.first_byte_at);
  if (r.held_until) out["held_until"] = to_rfc3339(*r.held_until);
  return json::serialize(out);
}

Result<StepsReport> steps_report_from_json(std::string_view text) {
  TRY_ASSIGN(auto v, parse_json(text));
  StepsReport r;
  Reader read(v, "");
  read_steps(read, r.steps);
  read_instant(read, "first_byte_us", r.first_byte_at);
  read.optional("held_until", r.held_until, forms::instant);
  return read.done(std::move(r));
}

std::string to_json(const FinishReport& r) {
  json::object out{{"outcome", to_string(r.outcome)}, {"reason", to_string(r.reason)}, {"detail", r.detail},
                   {"log_bytes", r.log_bytes}, {"steps", form(r.steps)}, {"outputs", forms::strings(r.outputs)}};
  if (r.exit_code) out["exit_code"] = *r.exit_code;
  if (r.tests) out["tests"] = form(*r.tests);
  if (r.first_byte_at) out["first_byte_us"] = to_micros(*r.first_byte_at);
  return json::serialize(out);
}

Result<FinishReport> finish_report_from_json(std::string_view text) {
  TRY_ASSIGN(auto v, parse_json(text));
  FinishReport r;
  Reader read(v, "");
  read.required("outcome", r.outcome, outcome);
  read.required("reason", r.reason, reason);
  read.optional("detail", r.detail);
  std::optional<std::int64_t> exit_code;
  read.optional("exit_code", exit_code);
  if (exit_code && (*exit_code < 0 || *exit_code > 255)) read.set_wrong("exit_code", "0 to 255");
  if (exit_code) r.exit_code = static_cast<int>(*exit_code);
  count(read, "log_bytes", r.log_bytes);
  read_steps(read, r.steps);
  read.optional("outputs", r.outputs);
  read.optional("tests", r.tests, test_report);
  read_instant(read, "first_byte_us", r.first_byte_at);
  return read.done(std::move(r));
}

}  // namespace mayfly
