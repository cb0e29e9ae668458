#include "roles/gateway/api_limits.h"

#include <algorithm>

namespace mayfly {
namespace {

struct Owned {
  std::string_view prefix;   // of the routes' patterns
  std::string_view select;   // the organization of {id}
};

constexpr Owned owned[] = {
    {"/projects/{id}", "select organization_id from projects where id = $1 or (name = $1 and deleted_at is null)"},
    {"/builds/{id}", "select organization_id from builds where id = $1"},
    {"/jobs/{id}", "select b.organization_id from jobs j join builds b on b.id = j.build_id where j.id = $1"},
    {"/artifacts/{id}", "select b.organization_id from artifacts a join builds b on b.id = a.build_id where a.id = $1"},
    {"/deliveries/{id}", "select p.organization_id from deliveries d join projects p on p.id = d.project_id where d.id = $1"},
};

}  // namespace

Task<Result<void>> ApiLimits::check(std::string token_hash, std::string_view pattern, std::string id) {
  CO_TRY(co_await limits_.check_token(std::move(token_hash)));
  auto kind = std::ranges::find_if(owned, [&](auto& o) { return pattern.starts_with(o.prefix); });
  if (kind == std::end(owned) || id.empty()) co_return Result<void>{};
  auto organization = co_await organization_of(kind->select, std::move(id));
  if (!organization) co_return Result<void>{};
  co_return co_await limits_.check_organization(*organization);
}

Task<std::optional<OrganizationId>> ApiLimits::organization_of(std::string_view select, std::string id) {
  if (auto found = known_.find(id); found != known_.end()) co_return found->second;
  auto found = co_await db_.query(statement(select, id));
  if (!found || found->rows.empty()) co_return std::nullopt;
  auto organization = id_at<OrganizationId>(found->rows[0], 0);
  if (!BuildId::parse(id)) co_return organization;   // a project's name may come to mean another
  if (known_.size() >= max_known_owners) known_.clear();
  known_.emplace(std::move(id), organization);
  co_return organization;
}

}  // namespace mayfly
