#pragma once
// HTTP on one side, use cases on the other: handlers only translate. One file a group of calls (api_*.cpp).

#include <functional>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include "net/router.h"
#include "ports/cache.h"
#include "ports/forge.h"
#include "ports/secrets.h"
#include "roles/builds/builds.h"
#include "roles/builds/deliveries.h"
#include "roles/common/metrics.h"
#include "roles/gateway/access.h"
#include "roles/gateway/api_limits.h"
#include "roles/gateway/build_status.h"
#include "roles/gateway/views.h"
#include "roles/logs/log_intake.h"
#include "roles/runners/artifact_store.h"
#include "roles/runners/attempts.h"
#include "roles/runners/shells.h"

namespace mayfly {

/// Whether something that this server stands on can be used now.
struct Check {
  std::string name;
  Result<void> state;
};

/// What the gateway stands on. All of it outlives the gateway.
struct GatewayParts {
  Database& db;
  Cache& cache;
  Secrets& secrets;
  Forge& forge;
  Clock& clock;
  Entropy& entropy;
  Builds& builds;
  Deliveries& deliveries;
  Attempts& attempts;
  Shells& shells;
  LogReader& logs;
  ArtifactStore& artifacts;
  Access& access;
  Metrics& metrics;
  WaitReasons& why;
  RateLimits& limits;
  std::string base_url;                          // how people reach this server
  std::function<Task<std::vector<Check>>()> checks;   // what /readyz asks
};

class Gateway final {
 public:
  explicit Gateway(GatewayParts parts);

  /// Every route of the server. `router` keeps references to this gateway.
  void add_routes(http::Router& router);
  /// Only /healthz, /readyz and /metrics: of a process that is no gateway.
  void add_probes(http::Router& router);

 private:
  using Handler = std::function<Task<http::Response>(http::Request)>;

  void add_meta(http::Router& router);
  void add_webhooks(http::Router& router);
  void add_projects(http::Router& router);
  void add_builds(http::Router& router);
  void add_events(http::Router& router);
  void add_logs(http::Router& router);
  void add_artifacts(http::Router& router);
  void add_runners(http::Router& router);
  void add_source(http::Router& router);
  void add_shells(http::Router& router);
  void add_ingest(http::Router& router);
  void add_pages(http::Router& router);
  void add_pools(http::Router& router);

  /// `handler` behind a token whose role may do `action`, and its limits.
  Handler checked(std::string_view pattern, Action action, Handler handler);
  /// A route that needs a token whose role may do `action`.
  void guarded(http::Router& router, std::string_view method, std::string_view pattern, Action action, Handler handler,
               http::RouteOptions options = {});

  Task<Result<Project>> project_named(std::string id_or_name);
  Task<Result<JobState>> job_of(JobId id);
  /// When what the job leaves behind is to go.
  Task<Result<std::optional<Time>>> artifact_expiry(ArtifactOwner owner);
  Task<Result<std::vector<std::string>>> pool_views();
  Task<http::Response> change_pool(http::Request request, std::string action, std::function<Statement(const std::string&)> change);
  Task<void> open_shell(JobId job, Actor actor, http::WebSocket& socket);
  Task<std::string> shown(const BuildRecord& build);
  Task<Result<BuildRendering>> render(BuildId id);

  GatewayParts parts_;
  ApiLimits limits_;
  BuildStatusCache status_;
};

/// Who asks, in a handler behind guarded().
const Actor& actor_of(const http::Request& request);

/// The token and fence a runner sends with every call after start.
RunnerCredentials runner_credentials(const http::Request& request);

/// An answer from a result: the error as a problem, or what `ok` makes of the value.
template <class T, class F>
http::Response answer(Result<T>&& result, F ok) {
  if (!result) return http::problem(result.error());
  if constexpr (std::is_void_v<T>) return ok();
  else return ok(*std::move(result));
}

inline constexpr std::int64_t default_page = 50;
inline constexpr std::int64_t max_page = 500;

/// `?limit=` within 1…max_page.
Result<std::int64_t> page_limit(const http::Request& request);

/// The OpenAPI description of every public route.
std::string_view openapi_json();

/// The page of a build, the list of builds, and the pools: static text that asks the API with the viewer's token.
std::string_view build_page();
std::string_view builds_page();
std::string_view pools_page();
http::Response page_response(std::string_view html);

}  // namespace mayfly
