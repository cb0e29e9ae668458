#include <algorithm>
#include <concepts>

#include "base/json.h"
#include "domain/names.h"
#include "domain/pipeline/plan.h"

namespace mayfly {
namespace {

constexpr Name<Priority> priorities[] = {{Priority::low, "low"}, {Priority::normal, "normal"}, {Priority::high, "high"}};
constexpr Name<ArtifactsWhen> whens[] = {{ArtifactsWhen::success, "success"}, {ArtifactsWhen::failure, "failure"}, {ArtifactsWhen::always, "always"}};

/// What jobs stored by earlier versions do not have.
constexpr std::string_view added_later[] = {"services"};

// Each struct lists its fields once, in `fields`; Writer and Reader walk the list.
template <class F>
void fields(StepSpec& s, F&& f) {
  f("name", s.name), f("run", s.run), f("shell", s.shell), f("env", s.env), f("condition", s.condition), f("timeout_us", s.timeout), f("finally", s.finally);
}
template <class F>
void fields(ArtifactsSpec& s, F&& f) {
  f("paths", s.paths), f("expire_us", s.expire), f("when", s.when);
}
template <class F>
void fields(CheckoutSpec& s, F&& f) {
  f("enabled", s.enabled), f("depth", s.depth), f("submodules", s.submodules);
}
template <class F>
void fields(RetrySpec& s, F&& f) {
  f("max", s.max), f("on_failure", s.on_failure), f("on_timeout", s.on_timeout), f("on_oom", s.on_oom);
}
template <class F>
void fields(ServiceSpec& s, F&& f) {
  f("name", s.name), f("image", s.image), f("run", s.run), f("env", s.env), f("ready", s.ready);
}
template <class F>
void fields(JobSpec& s, F&& f) {
  f("name", s.name), f("base_name", s.base_name), f("needs", s.needs), f("matrix", s.matrix), f("max_parallel", s.max_parallel);
  f("fail_fast", s.fail_fast), f("condition", s.condition), f("skipped", s.skipped), f("skip_reason", s.skip_reason), f("image", s.image);
  f("isolation", s.isolation), f("network", s.network), f("cpu_milli", s.cpu_milli), f("memory_bytes", s.memory_bytes), f("disk_bytes", s.disk_bytes);
  f("timeout_us", s.timeout), f("retry", s.retry), f("env", s.env), f("steps", s.steps), f("secrets", s.secrets), f("outputs", s.outputs);
  f("artifacts", s.artifacts), f("junit", s.junit), f("checkout", s.checkout), f("allow_failure", s.allow_failure), f("priority", s.priority);
  f("runs_on", s.runs_on), f("services", s.services), f("hold_us", s.hold);
}

template <class T>
concept Struct = requires(T& t) { fields(t, [](const char*, auto&) {}); };

// ---- out

template <Struct T>
json::value out(const T& v);
template <class T>
json::value out(const std::vector<T>& v);

json::value out(const std::string& v) { return json::value(v); }
json::value out(bool v) { return v; }
json::value out(int v) { return v; }
json::value out(std::int64_t v) { return v; }
json::value out(Duration v) { return std::int64_t(v.count()); }
json::value out(Priority v) { return json::value(to_string(v)); }
json::value out(ArtifactsWhen v) { return json::value(to_string(v)); }
json::value out(Isolation v) { return json::value(to_string(v)); }

json::value out(const std::map<std::string, std::string>& v) {
  json::object object;
  for (auto& [key, value] : v) object.emplace(key, value);
  return object;
}

template <class T>
json::value out(const std::optional<T>& v) {
  return v ? out(*v) : json::value(nullptr);
}

template <Struct T>
json::value out(const T& v) {
  json::object object;
  fields(const_cast<T&>(v), [&](const char* key, auto& field) { object.emplace(key, out(field)); });
  return object;
}

template <class T>
json::value out(const std::vector<T>& v) {
  json::array array;
  for (auto& item : v) array.push_back(out(item));
  return array;
}

// ---- in: false if it is not what `out` writes

template <Struct T>
bool in(const json::value& v, T& to);
template <class T>
bool in(const json::value& v, std::vector<T>& to);

bool in(const json::value& v, std::string& to) {
  auto* text = v.if_string();
  if (text) to = std::string(*text);
  return text;
}
bool in(const json::value& v, bool& to) {
  if (!v.is_bool()) return false;
  to = v.get_bool();
  return true;
}
template <std::integral T>
bool in(const json::value& v, T& to) {
  if (!v.is_int64() || !std::in_range<T>(v.get_int64())) return false;
  to = T(v.get_int64());
  return true;
}
bool in(const json::value& v, Duration& to) {
  if (!v.is_int64()) return false;
  to = Duration{v.get_int64()};
  return true;
}
template <class E, std::size_t N>
bool in_words(const json::value& v, E& to, const Name<E> (&table)[N]) {
  auto* text = v.if_string();
  auto value = text ? value_of(table, std::string_view(*text)) : std::nullopt;
  if (value) to = *value;
  return value.has_value();
}
bool in(const json::value& v, Priority& to) { return in_words(v, to, priorities); }
bool in(const json::value& v, ArtifactsWhen& to) { return in_words(v, to, whens); }
bool in(const json::value& v, Isolation& to) { return in_words(v, to, isolation_words); }

bool in(const json::value& v, std::map<std::string, std::string>& to) {
  auto* object = v.if_object();
  if (!object) return false;
  for (auto& [key, value] : *object)
    if (!in(value, to[std::string(key)])) return false;
  return true;
}

template <class T>
bool in(const json::value& v, std::optional<T>& to) {
  if (v.is_null()) return true;
  return in(v, to.emplace());
}

template <Struct T>
bool in(const json::value& v, T& to) {
  auto* object = v.if_object();
  if (!object) return false;
  bool good = true;
  fields(to, [&](const char* key, auto& field) {
    auto* value = object->if_contains(key);
    good = good && (value ? in(*value, field) : std::ranges::find(added_later, std::string_view(key)) != std::end(added_later));
  });
  return good;
}

template <class T>
bool in(const json::value& v, std::vector<T>& to) {
  auto* array = v.if_array();
  if (!array) return false;
  for (auto& item : *array)
    if (!in(item, to.emplace_back())) return false;
  return true;
}

}  // namespace

std::string to_string(Priority p) { return std::string(name_of(priorities, p)); }
std::string to_string(ArtifactsWhen w) { return std::string(name_of(whens, w)); }

std::string job_spec_to_json(const JobSpec& spec) { return json::serialize(out(spec)); }

Result<JobSpec> job_spec_from_json(std::string_view text) {
  auto value = parse_json(text);
  if (!value) return fail(Errc::corrupt, "a stored job is " + value.error().message);
  JobSpec spec;
  if (!in(*value, spec)) return fail(Errc::corrupt, "a stored job has not the fields a job has");
  return spec;
}

std::string services_to_json(const std::vector<ServiceSpec>& services) { return json::serialize(out(services)); }

Result<std::vector<ServiceSpec>> services_from_json(std::string_view text) {
  auto value = parse_json(text);
  std::vector<ServiceSpec> services;
  if (!value || !in(*value, services)) return fail(Errc::corrupt, "stored services are not what services are");
  return services;
}

}  // namespace mayfly
