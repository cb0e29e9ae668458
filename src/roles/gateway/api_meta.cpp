#include <algorithm>
#include <ranges>

#include "base/json.h"
#include "roles/gateway/gateway.h"

namespace mayfly {

namespace {

bool is_named(std::string_view names, std::string_view name) {
  return std::ranges::any_of(std::views::split(names, ','), [&](auto word) { return std::string_view(word) == name; });
}

/// `excluded`: names of checks, with commas between, that do not decide.
http::Response readiness(const std::vector<Check>& checks, std::string_view excluded) {
  json::object states;
  std::string wrong;
  for (auto& check : checks) {
    states[check.name] = check.state ? std::string("ok") : check.state.error().message;
    if (!check.state && !is_named(excluded, check.name)) wrong += (wrong.empty() ? "" : "; ") + check.name + ": " + check.state.error().message;
  }
  if (wrong.empty()) return http::json_response(200, json::serialize(json::object{{"status", "ready"}, {"checks", std::move(states)}}));
  auto refusal = http::problem(503, "Service Unavailable", wrong);
  refusal.headers.set("Retry-After", "1");
  return refusal;
}

}  // namespace

void Gateway::add_probes(http::Router& router) {
  router.add("GET", "/healthz", [](http::Request) -> Task<http::Response> { co_return http::json_response(200, R"({"status":"ok"})"); });
  router.add("GET", "/readyz", [this](http::Request request) -> Task<http::Response> {
    co_return readiness(co_await parts_.checks(), request.query.get("exclude").value_or(""));
  });
  router.add("GET", "/metrics", [this](http::Request) -> Task<http::Response> {
    co_return http::text_response(200, parts_.metrics.text(), "text/plain; version=0.0.4; charset=utf-8");
  });
}

void Gateway::add_meta(http::Router& router) {
  router.add("GET", "/openapi.json", [](http::Request) -> Task<http::Response> { co_return http::json_response(200, std::string(openapi_json())); });

  guarded(router, "POST", "/tokens", Action::create_token, [this](http::Request request) -> Task<http::Response> {
    auto body = parse_json(request.body);
    if (!body) co_return http::problem(body.error());
    auto role = role_from(find_string(*body, "role").value_or("developer"));
    if (!role) co_return http::problem(Error{Errc::invalid, "role: not a role", "viewer, developer, maintainer, owner or shipper"});
    NewToken wanted{.name = find_string(*body, "name").value_or(""), .role = *role};
    if (auto text = find_string(*body, "expires_in")) {
      auto lifetime = parse_duration(*text);
      if (!lifetime) co_return http::problem(lifetime.error());
      wanted.lifetime = *lifetime;
    }
    auto made = co_await parts_.access.create(wanted);
    if (!made) co_return http::problem(made.error());
    co_await parts_.access.audit(actor_of(request), "token.create", made->id.str(), wanted.name);
    co_return http::json_response(201, json::serialize(json::object{{"id", made->id.str()}, {"name", wanted.name}, {"role", to_string(wanted.role)}, {"token", made->token}}));
  });
}

}  // namespace mayfly
