#include "base/json.h"
#include "domain/runner/shell.h"
#include "roles/gateway/gateway.h"

namespace mayfly {
namespace {

constexpr http::WebSocketOptions socket_options{.max_message_bytes = 160 << 10};   // an `open` with the longest command

std::string view(const ShellRecord& s) {
  return json::serialize(json::object{{"id", s.id}, {"who", s.who}, {"attempt", s.attempt}, {"opened_at", to_rfc3339(s.opened_at)},
                                      {"closed_at", s.closed_at ? json::value(to_rfc3339(*s.closed_at)) : json::value(nullptr)},
                                      {"seconds", s.closed_at ? json::value(s.seconds) : json::value(nullptr)},
                                      {"exit_code", s.exit_code ? json::value(*s.exit_code) : json::value(nullptr)},
                                      {"detail", s.detail.empty() ? json::value(nullptr) : json::value(s.detail)}});
}

}  // namespace

void Gateway::add_shells(http::Router& router) {
  guarded(router, "GET", "/jobs/{id}/shell", Action::open_shell, [this](http::Request request) -> Task<http::Response> {
    auto id = request.param<JobId>("id");
    if (!id) co_return http::problem(id.error());
    auto attempt = request.query_param<int>("attempt");
    if (!attempt) co_return http::problem(attempt.error());
    auto job = co_await parts_.shells.find(*id, *attempt);
    if (!job) co_return http::problem(job.error());
    auto actor = actor_of(request);
    co_return http::websocket_response(std::move(request), [this, id = *id, actor](http::WebSocket& socket) { return open_shell(id, actor, socket); }, socket_options);
  });

  guarded(router, "GET", "/jobs/{id}/shells", Action::read, [this](http::Request request) -> Task<http::Response> {
    auto id = request.param<JobId>("id");
    if (!id) co_return http::problem(id.error());
    co_return answer(co_await parts_.shells.of_job(*id), [](std::vector<ShellRecord> shells) {
      std::vector<std::string> items;
      for (auto& shell : shells) items.push_back(view(shell));
      return http::json_response(200, page_view(items, std::nullopt));
    });
  });

  guarded(router, "POST", "/jobs/{id}/release", Action::open_shell, [this](http::Request request) -> Task<http::Response> {
    auto id = request.param<JobId>("id");
    if (!id) co_return http::problem(id.error());
    auto released = co_await parts_.shells.release(*id, actor_of(request).name);
    if (!released) co_return http::problem(released.error());
    co_await parts_.access.audit(actor_of(request), "job.release", id->str());
    co_return http::json_response(202, json::serialize(json::object{{"job", id->str()}}));
  });

  router.add("GET", "/runner/v1/attempts/{id}/shells/{shell}", [this](http::Request request) -> Task<http::Response> {
    auto attempt = request.param<AttemptId>("id");
    if (!attempt) co_return http::problem(attempt.error());
    auto owner = co_await parts_.attempts.artifact_owner(*attempt, runner_credentials(request));
    if (!owner) co_return http::problem(owner.error());
    auto shell = request.param("shell").value_or("");
    co_return http::websocket_response(std::move(request), [this, attempt = *attempt, shell](http::WebSocket& socket) { return parts_.shells.serve(attempt, shell, socket); }, socket_options);
  });

  router.add("POST", "/runner/v1/attempts/{id}/shells/{shell}/ended", [this](http::Request request) -> Task<http::Response> {
    auto attempt = request.param<AttemptId>("id");
    if (!attempt) co_return http::problem(attempt.error());
    auto report = shell_report_from_json(request.body);
    if (!report) co_return http::problem(report.error());
    auto key = co_await parts_.attempts.proved(*attempt, runner_credentials(request));
    if (!key) co_return http::problem(key.error());
    co_return answer(co_await parts_.shells.ended(*key, request.param("shell").value_or(""), *std::move(report)), [] { return http::json_response(200, "{}"); });
  });
}

Task<void> Gateway::open_shell(JobId job, Actor actor, http::WebSocket& socket) {
  auto began = parts_.clock.now();
  co_await parts_.access.audit(actor, "shell.open", job.str());
  co_await parts_.shells.look(job, actor.name, socket);
  co_await parts_.access.audit(actor, "shell.close", job.str(), "after " + format_duration(std::chrono::floor<std::chrono::seconds>(parts_.clock.now() - began)));
}

}  // namespace mayfly
