#include <algorithm>

#include "base/json.h"
#include "domain/runner/shell.h"
#include "domain/webhook/git_names.h"
#include "roles/builds/planning.h"
#include "roles/builds/retry.h"
#include "roles/gateway/build_list.h"
#include "roles/gateway/gateway.h"

namespace mayfly {
namespace {

constexpr std::string_view heads = "refs/heads/";
constexpr std::size_t max_inputs = 100;

Result<BuildFilter> filter_of(const http::Request& request) {
  BuildFilter filter;
  if (auto status = request.query.get("status")) {
    filter.status = build_status_from(*status);
    if (!filter.status) return fail(Errc::invalid, "status: not a build's status", "queued, running, succeeded, failed or canceled");
  }
  if (auto ref = request.query.get("ref")) filter.ref = std::string(*ref);
  if (auto trigger = request.query.get("trigger")) filter.trigger = std::string(*trigger);
  return filter;
}

Result<TriggerEvent> manual_event(const json::value& body) {
  if (!body.is_object()) return fail(Errc::invalid, "the body is not a JSON object", R"(send {"ref": "main"})");
  TriggerEvent event{.event = "manual"};
  event.ref = find_string(body, "ref").value_or("main");
  event.sha = find_string(body, "sha").value_or("");
  if (!is_ref_name(event.ref)) return fail(Errc::invalid, "ref: not a ref's name");
  if (!event.sha.empty() && !is_commit_sha(event.sha)) return fail(Errc::invalid, "sha: not 40 hex digits");
  if (auto* inputs = find(body, "inputs"); inputs && !inputs->is_null()) {
    if (!inputs->is_object() || inputs->get_object().size() > max_inputs) return fail(Errc::invalid, "inputs: not an object of at most 100 texts");
    for (auto& [key, value] : inputs->get_object()) {
      if (value.is_string()) event.inputs[key] = value.get_string();
      else if (value.is_bool() || value.is_number()) event.inputs[key] = json::serialize(value);
      else return fail(Errc::invalid, "inputs." + std::string(key) + ": not a text, number or boolean");
    }
  }
  return event;
}

/// How long the jobs of a new build are held when they fail.
Result<Duration> hold_of(const json::value& body, const Actor& actor, const TriggerEvent& event) {
  auto* wish = find(body, "hold_minutes");
  if (!wish || wish->is_null()) return Duration{};
  auto minutes = find_int(body, "hold_minutes");
  constexpr auto most = max_hold / std::chrono::minutes(1);
  if (!minutes || *minutes < 0 || *minutes > most) return fail(Errc::invalid, "hold_minutes: 0 to " + std::to_string(most));
  if (*minutes > 0 && !may(actor.role, Action::open_shell))
    return fail(Errc::forbidden, "a " + std::string(to_string(actor.role)) + "'s token may not have jobs held", "ask an owner: only owners open shells");
  if (*minutes > 0 && event.fork) return fail(Errc::forbidden, "the build is of a fork's code: nobody opens a shell in it", "leave hold_minutes out");
  return std::chrono::minutes(*minutes);
}

}  // namespace

Task<std::string> Gateway::shown(const BuildRecord& build) {
  std::vector<JobId> queued;
  for (auto& job : build.state.jobs)
    if (job.status == JobStatus::queued) queued.push_back(job.id);
  co_return build_view(build, co_await parts_.why.of(std::move(queued)), parts_.base_url);
}

Task<Result<BuildRendering>> Gateway::render(BuildId id) {
  CO_TRY_ASSIGN(auto build, co_await parts_.builds.get(id));
  auto& state = build->state;
  // While jobs wait, why they wait changes without the sequence.
  bool waits = std::ranges::any_of(state.jobs, [](auto& job) { return job.status == JobStatus::queued; });
  co_return BuildRendering{.sequence = state.sequence, .terminal = is_terminal(state.status), .lasting = !waits, .json = co_await shown(*build)};
}

void Gateway::add_builds(http::Router& router) {
  guarded(router, "GET", "/builds", Action::read, [this](http::Request request) -> Task<http::Response> {
    auto limit = page_limit(request);
    if (!limit) co_return http::problem(limit.error());
    auto cursor = request.query_param<BuildId>("cursor");
    if (!cursor) co_return http::problem(cursor.error());
    auto filter = filter_of(request);
    if (!filter) co_return http::problem(filter.error());
    if (auto name = request.query.get("project")) {
      auto project = co_await project_named(std::string(*name));
      if (!project) co_return http::problem(project.error());
      filter->project = project->id;
    }
    co_return answer(co_await list_builds(parts_.db, std::move(*filter), *cursor, *limit), [&](std::vector<BuildSummary> builds) {
      std::vector<std::string> items;
      for (auto& b : builds) items.push_back(build_summary_view(b, parts_.base_url));
      bool full = std::int64_t(builds.size()) == *limit;
      return http::json_response(200, page_view(items, full ? std::optional(builds.back().header.id.str()) : std::nullopt));
    });
  });

  guarded(router, "POST", "/projects/{id}/builds", Action::trigger_build, [this](http::Request request) -> Task<http::Response> {
    auto project = co_await project_named(request.param("id").value_or(""));
    if (!project) co_return http::problem(project.error());
    auto body = parse_json(request.body.empty() ? "{}" : request.body);
    if (!body) co_return http::problem(body.error());
    auto event = manual_event(*body);
    if (!event) co_return http::problem(event.error());
    auto hold = hold_of(*body, actor_of(request), *event);
    if (!hold) co_return http::problem(hold.error());
    if (event->sha.empty()) {
      auto sha = co_await parts_.forge.resolve(project->repo_url, event->ref);
      if (!sha) co_return http::problem(sha.error());
      event->sha = std::move(*sha);
    }
    if (!event->ref.starts_with("refs/")) event->ref = std::string(heads) + event->ref;
    BuildRequest wish{.project = std::move(*project), .event = std::move(*event)};
    auto planned = co_await plan_build(parts_.forge, parts_.clock, parts_.entropy, std::move(wish));
    if (!planned) co_return http::problem(planned.error());
    if (!planned->build) co_return http::problem(Error{Errc::unsupported, "no build: " + planned->why_not, ""});
    hold_on_failure(*planned->build, *hold);
    auto id = planned->build->header.id;
    auto created = co_await parts_.builds.create(std::move(*planned->build), {});
    if (!created) co_return http::problem(created.error());
    co_await parts_.access.audit(actor_of(request), "build.trigger", id.str());
    auto build = co_await parts_.builds.get(id);
    if (!build) co_return http::problem(build.error());
    auto response = http::json_response(201, co_await shown(**build));
    response.headers.set("Location", "/builds/" + id.str());
    co_return response;
  });

  guarded(router, "GET", "/builds/{id}", Action::read, [this](http::Request request) -> Task<http::Response> {
    auto id = request.param<BuildId>("id");
    if (!id) co_return http::problem(id.error());
    auto build = co_await status_.get(*id);
    if (!build) co_return http::problem(build.error());
    auto tag = "\"" + std::to_string(build->sequence) + "\"";
    if (request.headers.get("If-None-Match") == tag) co_return http::empty_response(304);
    auto response = http::json_response(200, std::move(build->json));
    if (build->terminal) response.headers.set("ETag", tag);
    else response.headers.set("ETag", "W/" + tag);
    co_return response;
  });

  guarded(router, "POST", "/builds/{id}/cancel", Action::trigger_build, [this](http::Request request) -> Task<http::Response> {
    auto id = request.param<BuildId>("id");
    if (!id) co_return http::problem(id.error());
    auto canceled = co_await parts_.builds.change(*id, CancelBuild{actor_of(request).name});
    if (!canceled) co_return http::problem(canceled.error());
    co_await parts_.access.audit(actor_of(request), "build.cancel", id->str());
    co_return answer(co_await parts_.builds.get(*id), [&](std::shared_ptr<const BuildRecord> record) {
      return http::json_response(202, json::serialize(json::object{{"build", id->str()}, {"status", to_string(record->state.status)}, {"sequence", record->state.sequence}}));
    });
  });

  guarded(router, "POST", "/builds/{id}/retry", Action::trigger_build, [this](http::Request request) -> Task<http::Response> {
    auto id = request.param<BuildId>("id");
    if (!id) co_return http::problem(id.error());
    auto body = parse_json(request.body.empty() ? "{}" : request.body);
    if (!body) co_return http::problem(body.error());
    std::vector<std::string> jobs;
    if (auto* names = find(*body, "jobs"); names && !names->is_null()) {
      if (!names->is_array()) co_return http::problem(Error{Errc::invalid, "jobs: not a list of names", ""});
      for (auto& name : names->get_array()) {
        if (!name.is_string()) co_return http::problem(Error{Errc::invalid, "jobs: not a list of names", ""});
        jobs.emplace_back(name.get_string());
      }
    }
    auto before = co_await load_build(parts_.db, *id);
    if (!before) co_return http::problem(before.error());
    auto hold = hold_of(*body, actor_of(request), before->state.event);
    if (!hold) co_return http::problem(hold.error());
    auto record = retry_of(*before, jobs, parts_.clock, parts_.entropy);
    if (!record) co_return http::problem(record.error());
    hold_on_failure(*record, *hold);
    auto made = record->header.id;
    auto created = co_await parts_.builds.create(std::move(*record), {});
    if (!created) co_return http::problem(created.error());
    co_await parts_.access.audit(actor_of(request), "build.retry", id->str(), made.str());
    auto response = http::json_response(202, json::serialize(json::object{{"build", made.str()}, {"retry_of", id->str()}}));
    response.headers.set("Location", "/builds/" + made.str());
    co_return response;
  });
}

}  // namespace mayfly
