#include <algorithm>

#include "base/json.h"
#include "roles/gateway/gateway.h"

namespace mayfly {
namespace {



/// Refuses keys nobody reads, so that a typo is heard of.
Result<void> only_keys(const json::value& body, std::initializer_list<std::string_view> known) {
  auto* object = body.if_object();
  if (!object) return fail(Errc::invalid, "the body is not a JSON object");
  for (auto& [key, value] : *object)
    if (std::find(known.begin(), known.end(), std::string_view(key)) == known.end())
      return fail(Errc::invalid, "unknown key '" + std::string(key).substr(0, 80) + "'");
  return {};
}

Result<NewProject> new_project(const json::value& body) {
  TRY(only_keys(body, {"name", "repo_url", "organization", "weight", "webhook_secret"}));
  NewProject wanted;
  wanted.name = find_string(body, "name").value_or("");
  wanted.repo_url = find_string(body, "repo_url").value_or("");
  if (auto organization = find_string(body, "organization")) wanted.organization = *organization;
  if (auto weight = find_int(body, "weight")) wanted.weight = *weight;
  return wanted;
}

}  // namespace

void Gateway::add_projects(http::Router& router) {
  guarded(router, "GET", "/projects", Action::read, [this](http::Request request) -> Task<http::Response> {
    auto limit = page_limit(request);
    if (!limit) co_return http::problem(limit.error());
    if (auto name = request.query.get("name")) {
      auto found = co_await find_project_by_name(parts_.db, std::string(*name));
      if (!found && found.error().code != Errc::not_found) co_return http::problem(found.error());
      co_return http::json_response(200, page_view(found ? std::vector{project_view(*found)} : std::vector<std::string>{}, std::nullopt));
    }
    auto cursor = request.query_param<ProjectId>("cursor");
    if (!cursor) co_return http::problem(cursor.error());
    co_return answer(co_await list_projects(parts_.db, *cursor, *limit), [&](std::vector<Project> projects) {
      std::vector<std::string> items;
      for (auto& p : projects) items.push_back(project_view(p));
      bool full = std::int64_t(projects.size()) == *limit;
      return http::json_response(200, page_view(items, full ? std::optional(projects.back().id.str()) : std::nullopt));
    });
  });

  guarded(router, "POST", "/projects", Action::change_project, [this](http::Request request) -> Task<http::Response> {
    auto body = parse_json(request.body);
    if (!body) co_return http::problem(body.error());
    auto wanted = new_project(*body);
    if (!wanted) co_return http::problem(wanted.error());
    auto secret = find_string(*body, "webhook_secret");
    if (secret && (secret->empty() || secret->size() > max_secret_bytes)) co_return http::problem(Error{Errc::invalid, "webhook_secret: empty or too long", ""});
    auto made = co_await add_project(parts_.db, parts_.clock, parts_.entropy, std::move(*wanted));
    if (!made) co_return http::problem(made.error());
    if (secret) {
      auto sealed = co_await parts_.secrets.set(made->id, {std::string(webhook_secret_name), std::move(*secret)});
      if (!sealed) co_return http::problem(sealed.error());
    }
    co_await parts_.access.audit(actor_of(request), "project.add", made->id.str(), made->name);
    auto response = http::json_response(201, project_view(*made));
    response.headers.set("Location", "/projects/" + made->id.str());
    co_return response;
  });

  guarded(router, "GET", "/projects/{id}", Action::read, [this](http::Request request) -> Task<http::Response> {
    auto found = co_await project_named(request.param("id").value_or(""));
    co_return answer(std::move(found), [](Project p) { return http::json_response(200, project_view(p)); });
  });

  guarded(router, "PATCH", "/projects/{id}", Action::change_project, [this](http::Request request) -> Task<http::Response> {
    auto project = co_await project_named(request.param("id").value_or(""));
    if (!project) co_return http::problem(project.error());
    auto body = parse_json(request.body);
    if (!body) co_return http::problem(body.error());
    if (auto known = only_keys(*body, {"repo_url", "weight", "organization_weight", "webhook_secret"}); !known) co_return http::problem(known.error());
    ProjectChange change{find_string(*body, "repo_url"), find_int(*body, "weight"), find_int(*body, "organization_weight")};
    for (auto& weight : {change.weight, change.organization_weight})
      if (weight && (*weight < 1 || *weight > 1000)) co_return http::problem(Error{Errc::invalid, "a weight is between 1 and 1000", ""});
    if (change.repo_url && change.repo_url->empty()) co_return http::problem(Error{Errc::invalid, "repo_url: empty", ""});
    if (auto secret = find_string(*body, "webhook_secret")) {
      if (secret->empty() || secret->size() > max_secret_bytes) co_return http::problem(Error{Errc::invalid, "webhook_secret: empty or too long", ""});
      // Rotation: the secret until now stays good until the next change.
      auto before = co_await parts_.secrets.read(project->id, {std::string(webhook_secret_name)});
      if (before) {
        auto kept = co_await parts_.secrets.set(project->id, {std::string(old_webhook_secret_name), std::move(before->at(0).value)});
        if (!kept) co_return http::problem(kept.error());
      }
      auto sealed = co_await parts_.secrets.set(project->id, {std::string(webhook_secret_name), std::move(*secret)});
      if (!sealed) co_return http::problem(sealed.error());
    }
    auto changed = co_await change_project(parts_.db, project->id, std::move(change));
    if (!changed) co_return http::problem(changed.error());
    co_await parts_.access.audit(actor_of(request), "project.change", project->id.str());
    co_return answer(co_await find_project(parts_.db, project->id), [](Project p) { return http::json_response(200, project_view(p)); });
  });

  guarded(router, "DELETE", "/projects/{id}", Action::change_project, [this](http::Request request) -> Task<http::Response> {
    auto project = co_await project_named(request.param("id").value_or(""));
    if (!project) co_return http::problem(project.error());
    auto removed = co_await remove_project(parts_.db, parts_.clock, project->id);
    if (!removed) co_return http::problem(removed.error());
    co_await parts_.access.audit(actor_of(request), "project.remove", project->id.str(), project->name);
    co_return http::empty_response();
  });

  guarded(router, "GET", "/projects/{id}/secrets", Action::write_secret, [this](http::Request request) -> Task<http::Response> {
    auto project = co_await project_named(request.param("id").value_or(""));
    if (!project) co_return http::problem(project.error());
    co_return answer(co_await parts_.secrets.names(project->id), [](std::vector<std::string> names) {
      std::vector<std::string> items;
      for (auto& name : names)
        if (!name.starts_with(reserved_secret_prefix)) items.push_back(json::serialize(json::object{{"name", name}}));
      return http::json_response(200, page_view(items, std::nullopt));
    });
  });

  guarded(
      router, "PUT", "/projects/{id}/secrets/{name}", Action::write_secret,
      [this](http::Request request) -> Task<http::Response> {
        auto project = co_await project_named(request.param("id").value_or(""));
        if (!project) co_return http::problem(project.error());
        auto name = request.param("name").value_or("");
        if (name.starts_with(reserved_secret_prefix)) co_return http::problem(Error{Errc::invalid, "names that begin with MAYFLY_ are the server's own", "choose another name"});
        if (request.body.empty()) co_return http::problem(Error{Errc::invalid, "the value is empty", "send it as the request's body"});
        auto sealed = co_await parts_.secrets.set(project->id, {name, std::move(request.body)});
        if (!sealed) co_return http::problem(sealed.error());
        co_await parts_.access.audit(actor_of(request), "secret.set", project->id.str(), name);
        co_return http::empty_response();
      },
      {.max_body_bytes = max_secret_bytes});

  guarded(router, "DELETE", "/projects/{id}/secrets/{name}", Action::write_secret, [this](http::Request request) -> Task<http::Response> {
    auto project = co_await project_named(request.param("id").value_or(""));
    if (!project) co_return http::problem(project.error());
    auto name = request.param("name").value_or("");
    if (name.starts_with(reserved_secret_prefix)) co_return http::problem(Error{Errc::invalid, "names that begin with MAYFLY_ are the server's own", ""});
    auto removed = co_await parts_.secrets.remove(project->id, name);
    if (!removed) co_return http::problem(removed.error());
    co_await parts_.access.audit(actor_of(request), "secret.remove", project->id.str(), name);
    co_return http::empty_response();
  });
}

}  // namespace mayfly
