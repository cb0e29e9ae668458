#include "cli/client/api.h"

#include "base/digest.h"
#include "base/json.h"
#include "net/redirect.h"
#include "net/sse.h"

namespace mayfly::cli {
namespace {

constexpr std::size_t read_buffer_bytes = 64 * 1024;
constexpr std::size_t max_problem_bytes = 64 * 1024;
constexpr std::size_t max_answer_bytes = 64 * 1024 * 1024;  // a build of 10,000 jobs

std::string with_query(std::string path, http::Query query) {
  std::erase_if(query.pairs, [](auto& pair) { return pair.second.empty(); });
  return query.pairs.empty() ? path : path + "?" + http::build_query(query);
}

std::string at(std::string_view collection, std::string_view id, std::string_view rest = {}) {
  return std::string(collection) + "/" + http::percent_encode(id) + std::string(rest);
}

/// Without what is empty: the server knows absent from "".
json::object without_empty(json::object fields) {
  json::object out;
  for (auto& [key, value] : fields)
    if (!value.is_string() || !value.as_string().empty()) out[key] = value;
  return out;
}

/// The bytes an event of a live log carries. Its id says where they end, which shows whether any are missing before them.
Result<std::string> log_bytes(const http::SseEvent& event, std::int64_t from) {
  auto bytes = event.data;
  if (event.event == "base64") {
    TRY_ASSIGN(bytes, from_base64(event.data));
  }
  TRY_ASSIGN(auto end, http::parse_text<std::int64_t>(event.id, "a log event's id"));
  if (end != from + std::int64_t(bytes.size()))
    return fail(Errc::unavailable, "the live log has a gap: " + std::to_string(from) + " was expected, then " + std::to_string(bytes.size()) +
                                       " bytes up to " + event.id);
  return bytes;
}

Task<std::string> read_problem(http::ClientStream& stream) {
  std::string body(max_problem_bytes, '\0');
  std::size_t size = 0;
  while (size < body.size()) {
    auto n = co_await stream.read(std::span(body).subspan(size));
    if (!n || *n == 0) break;
    size += *n;
  }
  body.resize(size);
  co_return body;
}

}  // namespace

Api::Api(http::Client& client, const Clock& clock, Endpoint endpoint) : client_(client), clock_(clock), endpoint_(std::move(endpoint)) {}

http::ClientRequest Api::request(std::string method, std::string path) const {
  http::ClientRequest request{.method = std::move(method), .url = endpoint_.url + path};
  request.headers.add("Accept", "application/json");
  if (!endpoint_.token.empty()) request.headers.add("Authorization", "Bearer " + endpoint_.token);
  request.deadline = clock_.now() + call_timeout;
  request.max_response_bytes = max_answer_bytes;
  return request;
}

Task<Result<std::string>> Api::call(http::ClientRequest request) {
  CO_TRY_ASSIGN(auto response, co_await client_.send(std::move(request)));
  if (!response.ok()) co_return std::unexpected(http::error_of(response.status, response.headers, response.body));
  co_return std::move(response.body);
}

http::ClientRequest Api::json_request(std::string path, std::string body) const {
  auto wanted = request("POST", std::move(path));
  wanted.headers.add("Content-Type", "application/json");
  wanted.body = std::move(body);
  return wanted;
}

/// The answer's head has come, perhaps from where the server has sent us, and is a success.
Task<Result<std::unique_ptr<http::ClientStream>>> Api::open(http::ClientRequest request) {
  CO_TRY_ASSIGN(auto stream, co_await http::open_following(client_, std::move(request)));
  if (stream->status() >= 200 && stream->status() < 300) co_return stream;
  auto problem = co_await read_problem(*stream);
  co_return std::unexpected(http::error_of(stream->status(), stream->headers(), problem));
}

/// Hands what arrives to `take` until that says true (true) or the body ends (false).
Task<Result<bool>> Api::pump(http::ClientStream& stream, std::function<Task<Result<bool>>(std::string_view)> take) {
  std::string buffer(read_buffer_bytes, '\0');
  while (true) {
    stream.set_deadline(clock_.now() + silence_timeout);
    CO_TRY_ASSIGN(auto n, co_await stream.read(buffer));
    if (n == 0) co_return false;
    CO_TRY_ASSIGN(auto enough, co_await take(std::string_view(buffer).substr(0, n)));
    if (enough) co_return true;
  }
}

Task<Result<Project>> Api::add_project(NewProject project) {
  auto body = without_empty({{"name", project.name},
                             {"repo_url", project.repo_url},
                             {"organization", project.organization},
                             {"webhook_secret", project.webhook_secret}});
  if (project.weight > 0) body["weight"] = project.weight;
  CO_TRY_ASSIGN(auto answer, co_await post("/projects", json::serialize(body)));
  co_return project_from_json(answer);
}

Task<Result<Page<Project>>> Api::projects(std::optional<std::string> cursor) {
  CO_TRY_ASSIGN(auto answer, co_await get(with_query("/projects", {{{"limit", "100"}, {"cursor", cursor.value_or("")}}})));
  co_return projects_from_json(answer);
}

Task<Result<Project>> Api::project(std::string name_or_id) {
  CO_TRY_ASSIGN(auto answer, co_await get(at("/projects", name_or_id)));
  co_return project_from_json(answer);
}

Task<Result<Build>> Api::trigger(std::string project, NewBuild wanted) {
  auto body = without_empty({{"ref", wanted.ref}, {"sha", wanted.sha}});
  json::object inputs;
  for (auto& [key, value] : wanted.inputs) inputs[key] = value;
  if (!inputs.empty()) body["inputs"] = std::move(inputs);
  if (wanted.hold) body["hold_minutes"] = *wanted.hold / std::chrono::minutes(1);
  auto request = json_request(at("/projects", project, "/builds"), json::serialize(body));
  request.deadline = clock_.now() + fetch_timeout;
  CO_TRY_ASSIGN(auto answer, co_await call(std::move(request)));
  co_return build_from_json(answer);
}

Task<Result<Page<Build>>> Api::builds(BuildFilter filter, int limit, std::optional<std::string> cursor) {
  http::Query query{{{"project", filter.project},
                     {"status", filter.status},
                     {"ref", filter.ref},
                     {"limit", std::to_string(limit)},
                     {"cursor", cursor.value_or("")}}};
  CO_TRY_ASSIGN(auto answer, co_await get(with_query("/builds", std::move(query))));
  co_return builds_from_json(answer);
}

Task<Result<Build>> Api::build(std::string id) {
  CO_TRY_ASSIGN(auto answer, co_await get(at("/builds", id)));
  co_return build_from_json(answer);
}

Task<Result<void>> Api::cancel(std::string build_id) {
  CO_TRY(co_await post(at("/builds", build_id, "/cancel"), "{}"));
  co_return Result<void>();
}

Task<Result<std::string>> Api::retry(std::string build_id, std::vector<std::string> jobs, std::optional<Duration> hold) {
  json::object body;
  if (!jobs.empty()) body["jobs"] = json::value_from(jobs);
  if (hold) body["hold_minutes"] = *hold / std::chrono::minutes(1);
  CO_TRY_ASSIGN(auto answer, co_await post(at("/builds", build_id, "/retry"), json::serialize(body)));
  co_return string_field(answer, "build");
}

Task<Result<void>> Api::shell(std::string job_id, std::optional<int> attempt, http::WebSocketUse use) {
  auto wanted = request("GET", at("/jobs", job_id, "/shell"));
  if (attempt) wanted.url += "?attempt=" + std::to_string(*attempt);
  co_return co_await client_.websocket(std::move(wanted), std::move(use));
}

Task<Result<void>> Api::release(std::string job_id) {
  CO_TRY(co_await post(at("/jobs", job_id, "/release"), "{}"));
  co_return Result<void>{};
}

Task<Result<Page<Artifact>>> Api::artifacts(std::string build_id, std::optional<std::string> cursor) {
  CO_TRY_ASSIGN(auto answer,
                co_await get(with_query(at("/builds", build_id, "/artifacts"), {{{"limit", "100"}, {"cursor", cursor.value_or("")}}})));
  co_return artifacts_from_json(answer);
}

Task<Result<void>> Api::artifact_bytes(std::string artifact_id, std::int64_t from, Sink sink) {
  auto wanted = request("GET", at("/artifacts", artifact_id));
  if (from > 0) wanted.headers.set("Range", "bytes=" + std::to_string(from) + "-");
  auto through_server = wanted;
  through_server.url += "?direct=no";
  auto opened = co_await open(std::move(wanted));
  // The server may have sent us to a store that cannot be reached from here.
  if (!opened && opened.error().code != Errc::not_found) opened = co_await open(std::move(through_server));
  CO_TRY_ASSIGN(auto stream, std::move(opened));
  auto skip = stream->status() == 206 ? 0 : std::size_t(from);  // a server that knows no ranges sends all of it
  CO_TRY(co_await pump(*stream, [&](std::string_view bytes) -> Task<Result<bool>> {
    auto skipped = std::min(skip, bytes.size());
    skip -= skipped;
    sink(bytes.substr(skipped));
    co_return false;
  }));
  co_return Result<void>();
}

Task<Result<void>> Api::set_secret(std::string project, std::string name, std::string value) {
  auto wanted = request("PUT", at("/projects", project, "/secrets/" + http::percent_encode(name)));
  wanted.headers.add("Content-Type", "application/octet-stream");
  wanted.body = std::move(value);
  CO_TRY(co_await call(std::move(wanted)));
  co_return Result<void>();
}

Task<Result<Page<std::string>>> Api::secrets(std::string project, std::optional<std::string> cursor) {
  CO_TRY_ASSIGN(auto answer, co_await get(with_query(at("/projects", project, "/secrets"), {{{"cursor", cursor.value_or("")}}})));
  co_return names_from_json(answer);
}

Task<Result<void>> Api::remove_secret(std::string project, std::string name) {
  CO_TRY(co_await call(request("DELETE", at("/projects", project, "/secrets/" + http::percent_encode(name)))));
  co_return Result<void>();
}

Task<Result<Page<Pool>>> Api::pools() {
  CO_TRY_ASSIGN(auto answer, co_await get("/pools"));
  co_return pools_from_json(answer);
}

Task<Result<Pool>> Api::drain_pool(std::string name) {
  CO_TRY_ASSIGN(auto answer, co_await post(at("/pools", name, "/drain"), "{}"));
  co_return pool_from_json(answer);
}

Task<Result<Pool>> Api::resume_pool(std::string name) {
  CO_TRY_ASSIGN(auto answer, co_await post(at("/pools", name, "/resume"), "{}"));
  co_return pool_from_json(answer);
}

Task<Result<std::string>> Api::create_token(NewToken wanted) {
  auto body = without_empty({{"name", wanted.name}, {"role", wanted.role}});
  if (wanted.lifetime) body["expires_in"] = std::to_string(std::chrono::duration_cast<std::chrono::seconds>(*wanted.lifetime).count()) + "s";
  co_return co_await post("/tokens", json::serialize(body));
}

Task<Result<void>> Api::stored_log(LogPosition& position, Sink sink) {
  http::Query query{{{"attempt", position.attempt > 0 ? std::to_string(position.attempt) : ""}, {"from", std::to_string(position.from)}}};
  auto wanted = request("GET", with_query(at("/jobs", position.job_id, "/logs"), std::move(query)));
  wanted.headers.set("Accept", "text/plain");
  CO_TRY_ASSIGN(auto stream, co_await open(std::move(wanted)));
  CO_TRY(co_await pump(*stream, [&](std::string_view bytes) -> Task<Result<bool>> {
    position.from += std::int64_t(bytes.size());
    sink(bytes);
    co_return false;
  }));
  co_return Result<void>();
}

Task<Result<std::string>> Api::log_piece(std::string job_id, std::int64_t attempt, std::string range) {
  http::Query query{{{"attempt", attempt > 0 ? std::to_string(attempt) : ""}}};
  auto wanted = request("GET", with_query(at("/jobs", job_id, "/logs"), std::move(query)));
  wanted.headers.set("Accept", "text/plain");
  wanted.headers.set("Range", "bytes=" + range);
  CO_TRY_ASSIGN(auto response, co_await client_.send(std::move(wanted)));
  if (response.status == 416) co_return std::string();
  if (!response.ok()) co_return std::unexpected(http::error_of(response.status, response.headers, response.body));
  co_return std::move(response.body);
}

Task<Result<bool>> Api::live_log(LogPosition& position, Sink sink) {
  http::Query query{{{"attempt", position.attempt > 0 ? std::to_string(position.attempt) : ""}, {"from", std::to_string(position.from)}}};
  auto wanted = request("GET", with_query(at("/jobs", position.job_id, "/logs"), std::move(query)));
  wanted.headers.set("Accept", "text/event-stream");
  CO_TRY_ASSIGN(auto stream, co_await open(std::move(wanted)));
  http::SseParser parser;
  co_return co_await pump(*stream, [&](std::string_view bytes) -> Task<Result<bool>> {
    CO_TRY_ASSIGN(auto events, parser.feed(bytes));
    for (auto& event : events) {
      if (event.event == "end") co_return true;
      CO_TRY_ASSIGN(auto piece, log_bytes(event, position.from));
      position.from += std::int64_t(piece.size());
      sink(piece);
    }
    co_return false;
  });
}

Task<Result<void>> Api::build_events(std::string build_id, std::function<Task<Result<bool>>()> moved) {
  auto wanted = request("GET", at("/builds", build_id, "/events"));
  wanted.headers.set("Accept", "text/event-stream");
  CO_TRY_ASSIGN(auto stream, co_await open(std::move(wanted)));
  CO_TRY_ASSIGN(auto go_on, co_await moved());
  if (!go_on) co_return Result<void>();
  http::SseParser parser;
  CO_TRY_ASSIGN(auto ended, co_await pump(*stream, [&](std::string_view bytes) -> Task<Result<bool>> {
    CO_TRY_ASSIGN(auto events, parser.feed(bytes));
    if (events.empty()) co_return false;
    CO_TRY_ASSIGN(auto more, co_await moved());
    co_return !more;
  }));
  if (ended) co_return Result<void>();
  co_return fail(Errc::unavailable, "the server ended the stream of the build's events");
}

}  // namespace mayfly::cli
