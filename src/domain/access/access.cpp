#include "domain/access/access.h"

#include "base/digest.h"
#include "domain/names.h"

namespace mayfly {
namespace {

constexpr Name<Role> roles[] = {
    {Role::viewer, "viewer"}, {Role::developer, "developer"}, {Role::maintainer, "maintainer"}, {Role::owner, "owner"},
    {Role::shipper, "shipper"}};

struct Right {
  Action action;
  Role least;
};
constexpr Right rights[] = {
    {Action::read, Role::viewer},
    {Action::trigger_build, Role::developer},
    {Action::change_project, Role::maintainer},
    {Action::write_secret, Role::maintainer},
    {Action::create_token, Role::owner},
    {Action::open_shell, Role::owner},
    {Action::ship_logs, Role::owner},
    {Action::manage_pools, Role::owner},
};

}  // namespace

bool may(Role role, Action action) {
  if (role == Role::shipper) return action == Action::ship_logs;
  for (auto& right : rights)
    if (right.action == action) return role >= right.least;
  return false;
}

std::string_view to_string(Role role) { return name_of(roles, role); }
std::optional<Role> role_from(std::string_view text) { return value_of(roles, text); }

std::string token_text(std::string_view random_bytes) { return std::string(token_prefix) + to_base64url(random_bytes); }
std::string token_hash(std::string_view token) { return to_hex(sha256(token)); }

}  // namespace mayfly
