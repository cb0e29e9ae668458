#include "domain/runner/json_forms.h"

#include <limits>

#include "domain/names.h"

namespace mayfly {
namespace {

constexpr Name<StepStatus> step_statuses[] = {
    {StepStatus::waiting, "waiting"},   {StepStatus::running, "running"},   {StepStatus::succeeded, "succeeded"},
    {StepStatus::failed, "failed"},     {StepStatus::canceled, "canceled"}, {StepStatus::skipped, "skipped"},
};

}  // namespace

std::string_view to_string(StepStatus s) { return name_of(step_statuses, s); }
std::optional<StepStatus> step_status_from(std::string_view text) { return value_of(step_statuses, text); }

namespace forms {
namespace {

std::optional<std::int64_t> as_int(const json::value& v) { return find_int(v, ""); }

bool as_strings(const json::value& v, std::map<std::string, std::string>& into) {
  auto* object = v.if_object();
  if (!object) return false;
  for (auto& [key, value] : *object) {
    auto* text = value.if_string();
    if (!text) return false;
    into.emplace(key, *text);
  }
  return true;
}

bool as_strings(const json::value& v, std::vector<std::string>& into) {
  auto* array = v.if_array();
  if (!array) return false;
  for (auto& value : *array) {
    auto* text = value.if_string();
    if (!text) return false;
    into.emplace_back(*text);
  }
  return true;
}

}  // namespace

std::unexpected<Error> wrong(std::string_view field, std::string_view expected) {
  return fail(Errc::invalid, "'" + std::string(field) + "' must be " + std::string(expected));
}

Reader::Reader(const json::value& v, std::string path) : object_(v.if_object()), path_(std::move(path)) {
  if (!object_) error_ = wrong(path_.empty() ? "message" : path_, "an object").error();
}

std::string Reader::at(std::string_view key) const { return path_.empty() ? std::string(key) : path_ + "." + std::string(key); }

void Reader::set_wrong(std::string_view key, std::string_view expected) {
  if (!error_) error_ = wrong(at(key), expected).error();
}

const json::value* Reader::get(std::string_view key, bool must) {
  if (error_) return nullptr;
  auto* v = object_->if_contains(key);
  if (v && v->is_null()) v = nullptr;
  if (!v && must) set_wrong(key, "there");
  return v;
}

void Reader::required(std::string_view key, std::string& into) {
  if (get(key, true)) optional(key, into);
}
void Reader::required(std::string_view key, std::int64_t& into) {
  if (get(key, true)) optional(key, into);
}
void Reader::required(std::string_view key, bool& into) {
  if (get(key, true)) optional(key, into);
}

void Reader::optional(std::string_view key, std::string& into) {
  auto* v = get(key, false);
  if (!v) return;
  if (auto* text = v->if_string()) into = *text;
  else set_wrong(key, "a string");
}

void Reader::optional(std::string_view key, std::int64_t& into) {
  std::optional<std::int64_t> got;
  optional(key, got);
  if (got) into = *got;
}

void Reader::optional(std::string_view key, bool& into) {
  auto* v = get(key, false);
  if (!v) return;
  if (auto* b = v->if_bool()) into = *b;
  else set_wrong(key, "true or false");
}

void Reader::optional(std::string_view key, std::optional<std::int64_t>& into) {
  auto* v = get(key, false);
  if (!v) return;
  into = as_int(*v);
  if (!into) set_wrong(key, "a whole number");
}

void Reader::optional(std::string_view key, std::map<std::string, std::string>& into) {
  auto* v = get(key, false);
  if (v && !as_strings(*v, into)) set_wrong(key, "an object of strings");
}

void Reader::optional(std::string_view key, std::vector<std::string>& into) {
  auto* v = get(key, false);
  if (v && !as_strings(*v, into)) set_wrong(key, "an array of strings");
}

json::object strings(const std::map<std::string, std::string>& map) {
  json::object out;
  for (auto& [key, value] : map) out[key] = value;
  return out;
}

json::array strings(const std::vector<std::string>& list) { return json::array(list.begin(), list.end()); }

json::value form(const StepState& s) {
  json::object out{{"name", s.name}, {"status", to_string(s.status)}, {"log_start", s.log_start}, {"log_end", s.log_end}};
  if (s.exit_code) out["exit_code"] = *s.exit_code;
  if (s.start_time) out["start_time"] = to_rfc3339(*s.start_time);
  if (s.end_time) out["end_time"] = to_rfc3339(*s.end_time);
  return out;
}

Result<Time> instant(const json::value& v, std::string path) {
  auto* text = v.if_string();
  if (!text) return wrong(path, "a time");
  auto parsed = parse_rfc3339(*text);
  if (!parsed) return wrong(path, "a time (RFC 3339)");
  return parsed;
}

Result<StepState> step_state(const json::value& v, std::string path) {
  StepState s;
  Reader read(v, std::move(path));
  read.required("name", s.name);
  std::string status;
  read.required("status", status);
  if (auto known = step_status_from(status)) s.status = *known;
  else read.set_wrong("status", "waiting, running, succeeded, failed, canceled or skipped");
  std::optional<std::int64_t> exit_code;
  read.optional("exit_code", exit_code);
  if (exit_code && (*exit_code < std::numeric_limits<int>::min() || *exit_code > std::numeric_limits<int>::max()))
    read.set_wrong("exit_code", "a process's exit code");
  if (exit_code) s.exit_code = static_cast<int>(*exit_code);
  read.optional("start_time", s.start_time, instant);
  read.optional("end_time", s.end_time, instant);
  read.optional("log_start", s.log_start);
  read.optional("log_end", s.log_end);
  if (s.log_start < 0 || s.log_end < s.log_start) read.set_wrong("log_end", "at or after log_start");
  return read.done(std::move(s));
}

}  // namespace forms
}  // namespace mayfly
