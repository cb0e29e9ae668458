#include "base/json.h"
#include "roles/common/pools.h"
#include "roles/gateway/gateway.h"

namespace mayfly {
namespace {

/// A browser that goes to an address asks for HTML before anything else; a program does not.
bool wants_page(const http::Request& request) {
  auto accept = request.headers.get("Accept");
  return accept && accept->starts_with("text/html");
}

}  // namespace

Task<Result<std::vector<std::string>>> Gateway::pool_views() {
  CO_TRY_ASSIGN(auto pools, co_await pool_records(parts_.db));
  CO_TRY_ASSIGN(auto loads, co_await pool_loads(parts_.db));
  auto numbers = co_await parts_.why.pools();
  std::vector<std::string> views;
  for (auto& pool : pools) {
    auto& name = pool.state.name;
    views.push_back(pool_view(pool, loads[name], numbers && numbers->contains(name) ? std::optional(numbers->at(name)) : std::nullopt));
  }
  co_return views;
}

/// Stores the change unless it is so already, and answers with the pool as it is now.
Task<http::Response> Gateway::change_pool(http::Request request, std::string action, std::function<Statement(const std::string&)> change) {
  std::string name(request.param("name").value_or(""));
  auto found = co_await find_pool(parts_.db, name);
  if (!found) co_return http::problem(found.error());
  auto stored = co_await parts_.db.transact({change(name), parts_.access.audit_row(actor_of(request), "pool." + action, name)});
  if (!stored && stored.error().code != Errc::conflict) co_return http::problem(stored.error());
  auto now = co_await find_pool(parts_.db, name);
  if (!now) co_return http::problem(now.error());
  auto loads = co_await pool_loads(parts_.db);
  if (!loads) co_return http::problem(loads.error());
  co_return http::json_response(200, pool_view(*now, (*loads)[name], std::nullopt));
}

void Gateway::add_pools(http::Router& router) {
  auto list = checked("/pools", Action::read, [this](http::Request) -> Task<http::Response> {
    co_return answer(co_await pool_views(), [](std::vector<std::string> views) { return http::json_response(200, page_view(views, std::nullopt)); });
  });
  router.add("GET", "/pools", [list = std::move(list)](http::Request request) -> Task<http::Response> {
    if (wants_page(request)) co_return page_response(pools_page());
    co_return co_await list(std::move(request));
  });

  guarded(router, "POST", "/pools/{name}/drain", Action::manage_pools, [this](http::Request request) -> Task<http::Response> {
    auto who = actor_of(request).name;
    auto now = parts_.clock.now();
    return change_pool(std::move(request), "drain", [who, now](const std::string& name) { return drain_pool(name, who, now); });
  });

  guarded(router, "POST", "/pools/{name}/resume", Action::manage_pools, [this](http::Request request) -> Task<http::Response> {
    return change_pool(std::move(request), "resume", [](const std::string& name) { return resume_pool(name); });
  });
}

}  // namespace mayfly
