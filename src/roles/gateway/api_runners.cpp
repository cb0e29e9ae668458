#include "base/json.h"
#include "roles/gateway/gateway.h"

namespace mayfly {
namespace {

constexpr std::size_t upload_buffer_bytes = 256 << 10;
constexpr std::uint64_t max_finish_bytes = 8 << 20;

/// "sha-256=<base64>" (RFC 3230) → hex.
Result<std::optional<std::string>> announced_digest(const http::Request& request) {
  auto header = request.headers.get("Digest");
  if (!header) return std::nullopt;
  constexpr std::string_view algorithm = "sha-256=";
  if (!header->starts_with(algorithm)) return fail(Errc::invalid, "Digest: only sha-256 is known");
  TRY_ASSIGN(auto bytes, from_base64(header->substr(algorithm.size())));
  return std::optional(to_hex({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()}));
}

}  // namespace

RunnerCredentials runner_credentials(const http::Request& request) {
  RunnerCredentials who;
  constexpr std::string_view scheme = "Bearer ";
  if (auto header = request.headers.get("Authorization"); header && header->starts_with(scheme)) who.token = header->substr(scheme.size());
  if (auto header = request.headers.get("Mayfly-Fence")) who.fence.value = http::parse_text<std::int64_t>(*header, "Mayfly-Fence").value_or(0);
  return who;
}

Task<Result<std::optional<Time>>> Gateway::artifact_expiry(ArtifactOwner owner) {
  CO_TRY_ASSIGN(auto record, co_await parts_.builds.get(owner.build));
  auto* job = find_job(record->state, owner.job);
  co_return job->spec->artifacts.expire.transform([&](Duration d) { return parts_.clock.now() + d; });
}

void Gateway::add_runners(http::Router& router) {
  auto route = [&](std::string_view call, auto handler, std::uint64_t max_body = 1 << 20) {
    router.add("POST", "/runner/v1/attempts/{id}/" + std::string(call),
               [handler](http::Request request) -> Task<http::Response> {
                 auto attempt = request.param<AttemptId>("id");
                 if (!attempt) co_return http::problem(attempt.error());
                 co_return co_await handler(*attempt, std::move(request));
               },
               {.max_body_bytes = max_body});
  };

  route("start", [this](AttemptId attempt, http::Request request) -> Task<http::Response> {
    auto body = start_request_from_json(request.body);
    if (!body) co_return http::problem(body.error());
    co_return answer(co_await parts_.attempts.start(attempt, std::move(*body)), [](StartAnswer a) { return http::json_response(200, to_json(a)); });
  });

  route("heartbeat", [this](AttemptId attempt, http::Request request) -> Task<http::Response> {
    auto body = heartbeat_request_from_json(request.body);
    if (!body) co_return http::problem(body.error());
    co_return answer(co_await parts_.attempts.heartbeat(attempt, runner_credentials(request), *body),
                     [](HeartbeatAnswer a) { return http::json_response(200, to_json(a)); });
  });

  route(
      "logs",
      [this](AttemptId attempt, http::Request request) -> Task<http::Response> {
        auto bytes = request.body.size();
        auto taken = co_await parts_.attempts.logs(attempt, runner_credentials(request), std::move(request.body));
        if (taken) parts_.metrics.count("mayfly_log_bytes_total", {}, double(bytes));
        co_return answer(std::move(taken), [](LogsAnswer a) { return http::json_response(200, to_json(a)); });
      },
      max_log_request_bytes);

  route("steps", [this](AttemptId attempt, http::Request request) -> Task<http::Response> {
    auto body = steps_report_from_json(request.body);
    if (!body) co_return http::problem(body.error());
    co_return answer(co_await parts_.attempts.steps(attempt, runner_credentials(request), std::move(*body)),
                     [] { return http::json_response(200, "{}"); });
  });

  route(
      "finish",
      [this](AttemptId attempt, http::Request request) -> Task<http::Response> {
        auto body = finish_report_from_json(request.body);
        if (!body) co_return http::problem(body.error());
        co_return answer(co_await parts_.attempts.finish(attempt, runner_credentials(request), std::move(*body)),
                         [] { return http::json_response(200, "{}"); });
      },
      max_finish_bytes);

  route("artifacts/prepare", [this](AttemptId attempt, http::Request request) -> Task<http::Response> {
    auto wanted = new_upload_from_json(request.body);
    if (!wanted) co_return http::problem(wanted.error());
    auto owner = co_await parts_.attempts.artifact_owner(attempt, runner_credentials(request));
    if (!owner) co_return http::problem(owner.error());
    auto expires = co_await artifact_expiry(*owner);
    if (!expires) co_return http::problem(expires.error());
    auto prepared = co_await parts_.artifacts.prepare(*owner, std::move(wanted->kind), std::move(wanted->path), wanted->size, std::move(wanted->sha256), *expires);
    co_return answer(std::move(prepared), [](std::optional<DirectUpload> upload) {
      if (!upload) return http::json_response(200, to_json(PreparedUpload{}));
      return http::json_response(200, to_json(PreparedUpload{upload->id.str(), std::move(upload->put.url), std::move(upload->put.headers)}));
    });
  });

  auto stored = [this](Artifact a) {
    parts_.metrics.count("mayfly_artifact_bytes_total", {}, double(a.size));
    return http::json_response(200, json::serialize(json::object{{"id", a.id.str()}, {"sha256", a.sha256}}));
  };

  route("artifacts/commit", [this, stored](AttemptId attempt, http::Request request) -> Task<http::Response> {
    auto wanted = upload_commit_from_json(request.body);
    if (!wanted) co_return http::problem(wanted.error());
    auto id = ArtifactId::parse(wanted->id);
    if (!id) co_return http::problem(id.error());
    auto owner = co_await parts_.attempts.artifact_owner(attempt, runner_credentials(request));
    if (!owner) co_return http::problem(owner.error());
    co_return answer(co_await parts_.artifacts.commit(*owner, *id), stored);
  });

  auto upload = [this, stored](http::Request request, http::BodyReader& body) -> Task<http::Response> {
    auto attempt = request.param<AttemptId>("id");
    if (!attempt) co_return http::problem(attempt.error());
    auto digest = announced_digest(request);
    if (!digest) co_return http::problem(digest.error());
    auto owner = co_await parts_.attempts.artifact_owner(*attempt, runner_credentials(request));
    if (!owner) co_return http::problem(owner.error());
    auto expires = co_await artifact_expiry(*owner);
    if (!expires) co_return http::problem(expires.error());
    auto begun = co_await parts_.artifacts.begin(*owner, std::string(request.query.get("kind").value_or("artifact")),
                                                 std::string(request.query.get("path").value_or("")), *expires);
    if (!begun) co_return http::problem(begun.error());
    std::string buffer(upload_buffer_bytes, '\0');
    for (;;) {
      auto got = co_await body.read(buffer);
      if (!got) co_return http::problem(got.error());
      if (*got == 0) break;
      auto written = co_await (*begun)->write(std::string_view(buffer).substr(0, *got));
      if (!written) co_return http::problem(written.error());
    }
    co_return answer(co_await (*begun)->finish(*digest), stored);
  };
  router.add_stream("PUT", "/runner/v1/attempts/{id}/artifacts", upload, {.max_body_bytes = std::uint64_t(max_artifact_bytes)});
}

}  // namespace mayfly
