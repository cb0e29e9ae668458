#include "roles/common/projects.h"

#include <algorithm>
#include <cctype>

namespace mayfly {
namespace {

constexpr std::string_view columns_from = R"sql(
select p.id, p.organization_id, o.name, o.weight, p.name, p.repo_url, p.weight, p.created_at
from projects p join organizations o on o.id = p.organization_id
where p.deleted_at is null and )sql";

constexpr std::string_view insert_organization = R"sql(
insert into organizations (id, name, weight, created_at) values ($1, $2, 1, $3) on conflict (name) do nothing)sql";
constexpr std::string_view insert_project = R"sql(
insert into projects (id, organization_id, name, repo_url, repo_key, secret_id, weight, next_number, created_at)
select $1, o.id, $3, $4, $5, $6, $7, 1, $8 from organizations o where o.name = $2)sql";
constexpr std::string_view update_repo = "update projects set repo_url = $2, repo_key = $3 where id = $1 and deleted_at is null";
constexpr std::string_view update_weight = "update projects set weight = $2 where id = $1 and deleted_at is null";
constexpr std::string_view update_organization_weight = R"sql(
update organizations set weight = $2 where id = (select organization_id from projects where id = $1 and deleted_at is null))sql";
constexpr std::string_view delete_project = "update projects set deleted_at = $2 where id = $1 and deleted_at is null";

std::string_view by(std::string_view condition) {
  // Statements are named constants: the database caches them by text.
  static const std::string by_id = std::string(columns_from) + "p.id = $1";
  static const std::string by_name = std::string(columns_from) + "p.name = $1";
  static const std::string after = std::string(columns_from) + "p.id > $1 order by p.id limit $2";
  static const std::string by_repository = std::string(columns_from) + "p.repo_key = $1 order by p.id";
  static const std::string by_tail = std::string(columns_from) + "(p.name = $1 or p.name = $2 or p.repo_key like $3) order by p.id limit 50";
  if (condition == "id") return by_id;
  if (condition == "name") return by_name;
  if (condition == "after") return after;
  if (condition == "repository") return by_repository;
  return by_tail;
}

Project project_from(const Row& row) {
  return {id_at<ProjectId>(row, 0), id_at<OrganizationId>(row, 1), text_at(row, 2), int_at(row, 3),
          text_at(row, 4),          text_at(row, 5),               int_at(row, 6),  time_at(row, 7)};
}

std::vector<Project> projects_from(const Rows& rows) {
  std::vector<Project> out;
  for (auto& row : rows.rows) out.push_back(project_from(row));
  return out;
}

bool is_name(std::string_view name) {
  auto ok = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '_' || c == '-' || c == '/'; };
  return !name.empty() && name.size() <= max_project_name_bytes && std::isalnum(static_cast<unsigned char>(name[0])) &&
         std::ranges::all_of(name, ok) && name.find("..") == name.npos;
}

std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), [](unsigned char c) { return char(std::tolower(c)); });
  return out;
}

/// `text` with LIKE's own characters taken literally is not portable; names with them simply do not match.
bool plain(std::string_view text) { return text.find_first_of("%_\\") == text.npos; }

}  // namespace

std::string repository_key(std::string_view url) {
  auto strip = [&] {
    while (url.ends_with('/')) url.remove_suffix(1);
    if (url.ends_with(".git")) url.remove_suffix(4);
  };
  strip();
  if (url.starts_with("file://")) url.remove_prefix(7);
  if (url.starts_with('/') || url.starts_with('.')) return std::string(url);
  if (auto scheme = url.find("://"); scheme != url.npos) {
    url.remove_prefix(scheme + 3);
    auto slash = url.find('/');
    auto host = url.substr(0, slash);
    if (auto at = host.rfind('@'); at != host.npos) host.remove_prefix(at + 1);
    if (auto port = host.find(':'); port != host.npos) host = host.substr(0, port);
    return lower(host) + lower(slash == url.npos ? "" : url.substr(slash));
  }
  if (auto colon = url.find(':'); colon != url.npos) {  // git@host:path
    auto host = url.substr(0, colon);
    if (auto at = host.rfind('@'); at != host.npos) host.remove_prefix(at + 1);
    return lower(host) + "/" + lower(url.substr(colon + 1));
  }
  return lower(url);
}

std::string without_credentials(std::string_view url) {
  auto scheme = url.find("://");
  if (scheme == url.npos) return std::string(url);
  auto host = scheme + 3, end = std::min(url.find('/', host), url.size());
  auto at = url.substr(0, end).rfind('@');
  if (at == url.npos || at < host) return std::string(url);
  return std::string(url.substr(0, host)) + std::string(url.substr(at + 1));
}

Task<Result<Project>> add_project(Database& db, Clock& clock, Entropy& entropy, NewProject wanted) {
  if (!is_name(wanted.name))
    co_return fail(Errc::invalid, "'" + wanted.name.substr(0, 80) + "' is not a project name", "letters, digits, '.', '_', '-' and '/', like acme/web");
  if (!is_name(wanted.organization)) co_return fail(Errc::invalid, "'" + wanted.organization.substr(0, 80) + "' is not an organization name");
  if (wanted.repo_url.empty() || wanted.repo_url.starts_with('-') || wanted.repo_url.size() > max_webhook_url_bytes)
    co_return fail(Errc::invalid, "a project needs the URL of its repository", "what git would clone: https://…, git@host:path or /path/to/repo.git");
  if (wanted.weight < 1 || wanted.weight > 1000) co_return fail(Errc::invalid, "a weight is between 1 and 1000");
  auto id = make_id<ProjectId>(clock, entropy);
  auto stored = co_await db.transact({
      statement(insert_organization, make_id<OrganizationId>(clock, entropy), wanted.organization, clock.now()),
      expect_one(insert_project, id, wanted.organization, wanted.name, wanted.repo_url, repository_key(wanted.repo_url),
                 webhook_secret_name, wanted.weight, clock.now()),
  });
  if (!stored && stored.error().code == Errc::conflict)
    co_return fail(Errc::conflict, "there is a project '" + wanted.name + "' already", "choose another name, or change that one");
  if (!stored) co_return std::unexpected(stored.error());
  co_return co_await find_project(db, id);
}

Task<Result<Project>> find_project(Database& db, ProjectId id) {
  CO_TRY_ASSIGN(auto found, co_await db.query(statement(by("id"), id)));
  if (found.rows.empty()) co_return fail(Errc::not_found, "there is no project " + id.str());
  co_return project_from(found.rows[0]);
}

Task<Result<Project>> find_project_by_name(Database& db, std::string name) {
  CO_TRY_ASSIGN(auto found, co_await db.query(statement(by("name"), name)));
  if (found.rows.empty()) co_return fail(Errc::not_found, "there is no project '" + name + "'", "mayfly project list shows what there is");
  co_return project_from(found.rows[0]);
}

Task<Result<std::vector<Project>>> list_projects(Database& db, std::optional<ProjectId> after, std::int64_t limit) {
  CO_TRY_ASSIGN(auto found, co_await db.query(statement(by("after"), after ? after->str() : std::string{}, limit)));
  co_return projects_from(found);
}

Task<Result<void>> change_project(Database& db, ProjectId id, ProjectChange change) {
  std::vector<Statement> unit;
  if (change.repo_url) unit.push_back(expect_one(update_repo, id, *change.repo_url, repository_key(*change.repo_url)));
  if (change.weight) unit.push_back(expect_one(update_weight, id, *change.weight));
  if (change.organization_weight) unit.push_back(expect_one(update_organization_weight, id, *change.organization_weight));
  if (unit.empty()) co_return Result<void>{};
  auto stored = co_await db.transact(std::move(unit));
  if (!stored && stored.error().code == Errc::conflict) co_return fail(Errc::not_found, "there is no project " + id.str());
  if (!stored) co_return std::unexpected(stored.error());
  co_return Result<void>{};
}

Task<Result<void>> remove_project(Database& db, Clock& clock, ProjectId id) {
  auto stored = co_await db.transact({expect_one(delete_project, id, clock.now())});
  if (!stored && stored.error().code == Errc::conflict) co_return fail(Errc::not_found, "there is no project " + id.str());
  if (!stored) co_return std::unexpected(stored.error());
  co_return Result<void>{};
}

Task<Result<std::vector<Project>>> projects_of_repository(Database& db, RepositoryNames names) {
  std::vector<Project> out;
  auto add = [&](std::vector<Project> more) {
    for (auto& p : more)
      if (std::ranges::find(out, p.id, &Project::id) == out.end()) out.push_back(std::move(p));
  };
  for (auto* url : {&names.clone_url, &names.ssh_url, &names.git_url, &names.html_url}) {
    if (url->empty()) continue;
    CO_TRY_ASSIGN(auto found, co_await db.query(statement(by("repository"), repository_key(*url))));
    add(projects_from(found));
  }
  if (out.empty() && !names.full_name.empty() && plain(names.full_name)) {
    auto slash = names.full_name.rfind('/');
    auto tail = slash == names.full_name.npos ? names.full_name : names.full_name.substr(slash + 1);
    CO_TRY_ASSIGN(auto found, co_await db.query(statement(by("tail"), names.full_name, tail, "%/" + names.full_name)));
    add(projects_from(found));
  }
  co_return out;
}

}  // namespace mayfly
