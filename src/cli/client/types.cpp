#include "cli/client/types.h"

#include <algorithm>
#include <array>

#include "base/json.h"

namespace mayfly::cli {
namespace {

std::string text_at(const json::value& v, std::string_view path) { return find_string(v, path).value_or(""); }

std::optional<Time> time_at(const json::value& v, std::string_view path) {
  auto text = find_string(v, path);
  if (!text) return std::nullopt;
  auto time = parse_rfc3339(*text);
  return time ? std::optional(*time) : std::nullopt;
}

const json::array& array_at(const json::value& v, std::string_view path) {
  static const json::array none;
  auto* found = find(v, path);
  return found && found->is_array() ? found->as_array() : none;
}

std::vector<std::string> strings_at(const json::value& v, std::string_view path) {
  std::vector<std::string> out;
  for (auto& item : array_at(v, path))
    if (item.is_string()) out.emplace_back(item.as_string());
  return out;
}

Step read_step(const json::value& v) {
  return {.name = text_at(v, "name"),
          .status = text_at(v, "status"),
          .exit_code = find_int(v, "exit_code"),
          .start_time = time_at(v, "start_time"),
          .end_time = time_at(v, "end_time"),
          .log_start = find_int(v, "log_start"),
          .log_end = find_int(v, "log_end")};
}

std::optional<TestCounts> read_tests(const json::value& job) {
  auto* tests = find(job, "tests");
  if (!tests || !tests->is_object()) return std::nullopt;
  auto count = [&](std::string_view name) { return find_int(*tests, name).value_or(0); };
  return TestCounts{.tests = count("tests"), .failures = count("failures") + count("errors"), .skipped = count("skipped")};
}

Job read_job(const json::value& v) {
  Job job{.id = text_at(v, "id"),
          .name = text_at(v, "name"),
          .status = text_at(v, "status"),
          .needs = strings_at(v, "needs"),
          .attempt = find_int(v, "attempt").value_or(0),
          .reason = text_at(v, "reason"),
          .detail = text_at(v, "detail"),
          .waiting_for = text_at(v, "waiting_for"),
          .isolation = text_at(v, "isolation"),
          .held_until = time_at(v, "held_until"),
          .allow_failure = find_bool(v, "allow_failure").value_or(false),
          .start_time = time_at(v, "start_time"),
          .end_time = time_at(v, "end_time"),
          .tests = read_tests(v)};
  for (auto& step : array_at(v, "steps")) job.steps.push_back(read_step(step));
  return job;
}

std::string read_error(const json::value& v) {
  return v.is_string() ? std::string(v.as_string()) : text_at(v, "text");
}

Build read_build(const json::value& v) {
  Build build{.id = text_at(v, "id"),
              .number = find_int(v, "number").value_or(0),
              .project_id = text_at(v, "project_id"),
              .status = text_at(v, "status"),
              .sequence = find_int(v, "sequence").value_or(0),
              .trigger_type = text_at(v, "trigger_type"),
              .ref = text_at(v, "ref"),
              .commit_sha = text_at(v, "commit_sha"),
              .message = text_at(v, "message"),
              .author = text_at(v, "author"),
              .url = text_at(v, "url"),
              .created_at = time_at(v, "created_at"),
              .start_time = time_at(v, "start_time"),
              .end_time = time_at(v, "end_time"),
              .json = json::serialize(v)};
  for (auto& error : array_at(v, "errors")) build.errors.push_back(read_error(error));
  for (auto& job : array_at(v, "jobs")) build.jobs.push_back(read_job(job));
  return build;
}

Project read_project(const json::value& v) {
  auto organization = text_at(v, "organization");
  return {.id = text_at(v, "id"),
          .name = text_at(v, "name"),
          .repo_url = text_at(v, "repo_url"),
          .organization = organization.empty() ? text_at(v, "organization_id") : organization,
          .json = json::serialize(v)};
}

Artifact read_artifact(const json::value& v) {
  return {.id = text_at(v, "id"),
          .job = text_at(v, "job"),
          .path = text_at(v, "path"),
          .size = find_int(v, "size").value_or(0),
          .sha256 = text_at(v, "sha256"),
          .expires_at = time_at(v, "expires_at"),
          .json = json::serialize(v)};
}

PoolAmounts read_amounts(const json::value& v) {
  auto amount = [&](std::string_view name) { return find_int(v, name).value_or(0); };
  return {.cpu_milli = amount("cpu_milli"), .memory_bytes = amount("memory_bytes"), .slots = amount("slots")};
}

Pool read_pool(const json::value& v) {
  Pool pool{.name = text_at(v, "name"),
            .state = text_at(v, "state"),
            .executor = text_at(v, "executor"),
            .labels = strings_at(v, "labels"),
            .isolations = strings_at(v, "isolations"),
            .running = find_int(v, "running").value_or(0),
            .assigned = find_int(v, "assigned").value_or(0),
            .waiting = find_int(v, "waiting"),
            .warm = find_int(v, "warm").value_or(0),
            .keeper = text_at(v, "keeper"),
            .json = json::serialize(v)};
  if (auto* capacity = find(v, "capacity")) pool.capacity = read_amounts(*capacity);
  if (auto* used = find(v, "used"); used && used->is_object()) pool.used = read_amounts(*used);
  return pool;
}

std::string read_name(const json::value& v) { return v.is_string() ? std::string(v.as_string()) : text_at(v, "name"); }

Result<json::value> parse_answer(std::string_view text) {
  auto value = parse_json(text);
  if (value && value->is_object()) return value;
  return fail(Errc::invalid, "the server's answer is not the JSON expected: " + std::string(text.substr(0, 80)),
              "check that --server names a Mayfly server");
}

template <class T>
Result<T> read_one(std::string_view text, T (*read)(const json::value&)) {
  TRY_ASSIGN(auto value, parse_answer(text));
  auto item = read(value);
  if (item.id.empty()) return fail(Errc::invalid, "the server's answer has no id", "check that --server names a Mayfly server");
  return item;
}

template <class T>
Result<Page<T>> read_page(std::string_view text, T (*read)(const json::value&)) {
  TRY_ASSIGN(auto value, parse_answer(text));
  Page<T> page;
  for (auto& item : array_at(value, "items")) page.items.push_back(read(item));
  page.next = find_string(value, "next");
  return page;
}

}  // namespace

bool has_ended(std::string_view status) {
  static constexpr std::array<std::string_view, 5> ended{"succeeded", "failed", "canceled", "skipped", "cached"};
  return std::ranges::find(ended, status) != ended.end();
}

Result<Build> build_from_json(std::string_view text) { return read_one(text, read_build); }
Result<Page<Build>> builds_from_json(std::string_view text) { return read_page(text, read_build); }
Result<Project> project_from_json(std::string_view text) { return read_one(text, read_project); }
Result<Page<Project>> projects_from_json(std::string_view text) { return read_page(text, read_project); }
Result<Page<Artifact>> artifacts_from_json(std::string_view text) { return read_page(text, read_artifact); }
Result<Page<Pool>> pools_from_json(std::string_view text) { return read_page(text, read_pool); }
Result<Pool> pool_from_json(std::string_view text) {
  TRY_ASSIGN(auto value, parse_answer(text));
  return read_pool(value);
}
Result<Page<std::string>> names_from_json(std::string_view text) { return read_page(text, read_name); }

Result<std::string> string_field(std::string_view text, std::string_view field) {
  TRY_ASSIGN(auto value, parse_answer(text));
  if (auto found = find_string(value, field)) return *found;
  return fail(Errc::invalid, "the server's answer has no " + std::string(field), "check that --server names a Mayfly server");
}

}  // namespace mayfly::cli
