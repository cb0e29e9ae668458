#include "roles/gateway/gateway.h"

#include <any>

#include "base/log.h"

namespace mayfly {

const Actor& actor_of(const http::Request& request) { return std::any_cast<const Actor&>(request.context); }

Result<std::int64_t> page_limit(const http::Request& request) {
  TRY_ASSIGN(auto limit, request.query_param<std::int64_t>("limit"));
  if (!limit) return default_page;
  if (*limit < 1 || *limit > max_page) return fail(Errc::invalid, "limit: between 1 and " + std::to_string(max_page));
  return *limit;
}

Gateway::Gateway(GatewayParts parts)
    : parts_(std::move(parts)),
      limits_(parts_.db, parts_.limits),
      status_(parts_.cache, parts_.base_url, [this](BuildId id) { return sequence_of_build(parts_.db, id); }, [this](BuildId id) { return render(id); }) {}

Gateway::Handler Gateway::checked(std::string_view pattern, Action action, Handler handler) {
  return [this, action, pattern = std::string(pattern), handler = std::move(handler)](http::Request request) -> Task<http::Response> {
    auto header = request.headers.get("Authorization");
    auto actor = co_await parts_.access.authenticate(header);
    if (!actor) {
      auto refusal = http::problem(actor.error());
      refusal.headers.set("WWW-Authenticate", "Bearer");
      co_return refusal;
    }
    if (!may(actor->role, action))
      co_return http::problem(Error{Errc::forbidden, "a " + std::string(to_string(actor->role)) + "'s token may not do this", "ask an owner for a token with a higher role"});
    auto within = co_await limits_.check(token_hash(*header), pattern, request.param("id").value_or(""));
    if (!within) {
      auto refusal = http::problem(within.error());
      refusal.headers.set("Retry-After", std::to_string(RateLimits::retry_after(within.error()).count()));
      co_return refusal;
    }
    request.context = std::move(*actor);
    co_return co_await handler(std::move(request));
  };
}

void Gateway::guarded(http::Router& router, std::string_view method, std::string_view pattern, Action action, Handler handler,
                      http::RouteOptions options) {
  router.add(method, pattern, checked(pattern, action, std::move(handler)), options);
}

Task<Result<Project>> Gateway::project_named(std::string id_or_name) {
  if (auto id = ProjectId::parse(id_or_name)) co_return co_await find_project(parts_.db, *id);
  co_return co_await find_project_by_name(parts_.db, std::move(id_or_name));
}

Task<Result<JobState>> Gateway::job_of(JobId id) {
  CO_TRY_ASSIGN(auto build, co_await build_of_job(parts_.db, id));
  CO_TRY_ASSIGN(auto record, co_await parts_.builds.get(build));
  auto* job = find_job(record->state, id);
  if (!job) co_return fail(Errc::not_found, "there is no job " + id.str());
  co_return *job;
}

void Gateway::add_routes(http::Router& router) {
  router.use([this](const http::RouteInfo& route, http::Request request, http::Next next) -> Task<http::Response> {
    auto began = parts_.clock.now();
    auto method = request.method;
    auto response = co_await next(std::move(request));
    auto pattern = route.pattern.empty() ? std::string("none") : route.pattern;
    parts_.metrics.count("mayfly_http_requests_total", {{"route", pattern}, {"method", route.pattern.empty() ? "any" : method}, {"status", std::to_string(response.status)}});
    parts_.metrics.observe("mayfly_http_request_seconds", parts_.clock.now() - began, {{"route", pattern}});
    if (response.status >= 500) log_error("a request failed", {{"route", pattern}, {"status", std::to_string(response.status)}});
    co_return response;
  });
  add_probes(router);
  add_meta(router);
  add_webhooks(router);
  add_projects(router);
  add_builds(router);
  add_events(router);
  add_logs(router);
  add_artifacts(router);
  add_runners(router);
  add_source(router);
  add_shells(router);
  add_ingest(router);
  add_pages(router);
  add_pools(router);
}

}  // namespace mayfly
