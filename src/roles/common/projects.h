#pragma once
// Organizations and projects: reading and writing their rows. Names are what people and webhooks use, ids what all else does.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "domain/webhook/webhook.h"
#include "ports/clock.h"
#include "ports/database.h"

namespace mayfly {

inline constexpr std::size_t max_project_name_bytes = 200;
inline constexpr std::string_view default_organization = "default";

// Names under which a project's webhook secrets are sealed. Jobs cannot ask for names that begin like this.
inline constexpr std::string_view reserved_secret_prefix = "MAYFLY_";
inline constexpr std::string_view webhook_secret_name = "MAYFLY_WEBHOOK_SECRET";
inline constexpr std::string_view old_webhook_secret_name = "MAYFLY_WEBHOOK_SECRET_OLD";

struct Project {
  ProjectId id;
  OrganizationId organization;
  std::string organization_name;
  std::int64_t organization_weight = 1;
  std::string name;
  std::string repo_url;
  std::int64_t weight = 1;
  Time created_at{};
};

struct NewProject {
  std::string name;              // [A-Za-z0-9][A-Za-z0-9._/-]*
  std::string repo_url;          // whatever git can fetch from
  std::string organization{default_organization};
  std::int64_t weight = 1;
};

/// Errc::invalid; Errc::conflict when the name is taken. Makes the organization if it is new.
Task<Result<Project>> add_project(Database& db, Clock& clock, Entropy& entropy, NewProject wanted);

Task<Result<Project>> find_project(Database& db, ProjectId id);                 // Errc::not_found
Task<Result<Project>> find_project_by_name(Database& db, std::string name);     // Errc::not_found

/// In order of ids after `after`.
Task<Result<std::vector<Project>>> list_projects(Database& db, std::optional<ProjectId> after, std::int64_t limit);

struct ProjectChange {
  std::optional<std::string> repo_url;
  std::optional<std::int64_t> weight;
  std::optional<std::int64_t> organization_weight;
};
Task<Result<void>> change_project(Database& db, ProjectId id, ProjectChange change);

/// Its name becomes free; builds and logs stay.
Task<Result<void>> remove_project(Database& db, Clock& clock, ProjectId id);

/// Projects a webhook may be about, best match first: same repository by URL, else by name.
Task<Result<std::vector<Project>>> projects_of_repository(Database& db, RepositoryNames names);

/// "https://git@Host.example/Acme/Web.git" and "git@host.example:acme/web" → "host.example/acme/web"; a path stays a path.
std::string repository_key(std::string_view url);

/// The URL without user and password.
std::string without_credentials(std::string_view url);

}  // namespace mayfly
