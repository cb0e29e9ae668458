#include "roles/builds/columns.h"

#include "base/json.h"

namespace mayfly {
namespace {

std::unexpected<Error> corrupt(std::string_view what) {
  return fail(Errc::corrupt, "a stored " + std::string(what) + " cannot be read");
}

json::object to_object(const std::map<std::string, std::string>& map) {
  json::object out;
  for (auto& [key, value] : map) out[key] = value;
  return out;
}

std::map<std::string, std::string> to_map(const json::value* v) {
  std::map<std::string, std::string> out;
  if (v && v->is_object())
    for (auto& [key, value] : v->get_object())
      if (value.is_string()) out.emplace(key, value.get_string());
  return out;
}

std::string text(const json::value& v, std::string_view key) { return find_string(v, key).value_or(""); }

std::optional<Time> instant(const json::value& v, std::string_view key) {
  return find_int(v, key).transform(from_micros);
}

}  // namespace

std::string event_to_column(const TriggerEvent& e) {
  json::object out{{"event", e.event}, {"ref", e.ref}, {"sha", e.sha}, {"base_ref", e.base_ref}, {"fork", e.fork}};
  if (e.pull_request) out["pull_request"] = *e.pull_request;
  if (!e.inputs.empty()) out["inputs"] = to_object(e.inputs);
  if (!e.file_hashes.empty()) out["file_hashes"] = to_object(e.file_hashes);
  return json::serialize(out);
}

Result<TriggerEvent> event_from_column(std::string_view column) {
  auto v = parse_json(column);
  if (!v) return corrupt("event");
  TriggerEvent e;
  e.event = text(*v, "event");
  e.ref = text(*v, "ref");
  e.sha = text(*v, "sha");
  e.base_ref = text(*v, "base_ref");
  e.fork = find_bool(*v, "fork").value_or(false);
  e.pull_request = find_int(*v, "pull_request");
  e.inputs = to_map(find(*v, "inputs"));
  e.file_hashes = to_map(find(*v, "file_hashes"));
  return e;
}

std::string map_to_column(const std::map<std::string, std::string>& map) { return json::serialize(to_object(map)); }

Result<std::map<std::string, std::string>> map_from_column(std::string_view column) {
  auto v = parse_json(column);
  if (!v) return corrupt("map");
  return to_map(&*v);
}

std::string steps_to_column(const std::vector<StepState>& steps) {
  json::array out;
  for (auto& s : steps) {
    json::object step{{"name", s.name}, {"status", to_string(s.status)}, {"log_start", s.log_start}, {"log_end", s.log_end}};
    if (s.exit_code) step["exit_code"] = *s.exit_code;
    if (s.start_time) step["start_time"] = to_micros(*s.start_time);
    if (s.end_time) step["end_time"] = to_micros(*s.end_time);
    out.push_back(std::move(step));
  }
  return json::serialize(out);
}

Result<std::vector<StepState>> steps_from_column(std::string_view column) {
  auto v = parse_json(column);
  if (!v || !v->is_array()) return corrupt("list of steps");
  std::vector<StepState> out;
  for (auto& step : v->get_array()) {
    auto status = step_status_from(text(step, "status"));
    if (!status) return corrupt("step");
    StepState s{.name = text(step, "name"), .status = *status};
    if (auto code = find_int(step, "exit_code")) s.exit_code = int(*code);
    s.start_time = instant(step, "start_time");
    s.end_time = instant(step, "end_time");
    s.log_start = find_int(step, "log_start").value_or(0);
    s.log_end = find_int(step, "log_end").value_or(0);
    out.push_back(std::move(s));
  }
  return out;
}

std::string tests_to_column(const TestReport& t) {
  json::array failed;
  for (auto& f : t.failed) failed.push_back(json::object{{"suite", f.suite}, {"name", f.name}, {"message", f.message}});
  return json::serialize(json::object{{"tests", t.tests}, {"failures", t.failures}, {"errors", t.errors},
                                      {"skipped", t.skipped}, {"time_ms", t.time_ms}, {"failed", std::move(failed)}});
}

Result<TestReport> tests_from_column(std::string_view column) {
  auto v = parse_json(column);
  if (!v) return corrupt("test report");
  auto number = [&](std::string_view key) { return find_int(*v, key).value_or(0); };
  TestReport t{.tests = number("tests"), .failures = number("failures"), .errors = number("errors"),
               .skipped = number("skipped"), .time_ms = number("time_ms")};
  if (auto* failed = find(*v, "failed"); failed && failed->is_array())
    for (auto& f : failed->get_array()) t.failed.push_back({text(f, "suite"), text(f, "name"), text(f, "message")});
  return t;
}

std::string errors_to_column(const std::vector<Diagnostic>& errors) {
  json::array out;
  for (auto& e : errors)
    out.push_back(json::object{{"file", e.file}, {"line", e.line}, {"column", e.column}, {"message", e.message}, {"hint", e.hint}});
  return json::serialize(out);
}

Result<std::vector<Diagnostic>> errors_from_column(std::string_view column) {
  auto v = parse_json(column);
  if (!v || !v->is_array()) return corrupt("list of errors");
  std::vector<Diagnostic> out;
  for (auto& e : v->get_array())
    out.push_back({text(e, "file"), int(find_int(e, "line").value_or(0)), int(find_int(e, "column").value_or(0)),
                   text(e, "message"), text(e, "hint")});
  return out;
}

}  // namespace mayfly
