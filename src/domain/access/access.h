#pragma once
// Who may do what: the one table. Everything that checks a right asks may().

#include <optional>
#include <string>
#include <string_view>

namespace mayfly {

enum class Role {
  viewer, developer, maintainer, owner,   // each may what the one before it may
  shipper,                                // sends logs, and may nothing else
};

enum class Action {
  read,               // projects, builds, logs, artifacts
  trigger_build,      // start, cancel, retry
  change_project,     // add, change, remove projects
  write_secret,
  create_token,
  ship_logs,          // of any attempt
  manage_pools,       // drain and resume them
  open_shell,         // into a running job, and hold one that fails
};

bool may(Role role, Action action);

std::string_view to_string(Role);
std::optional<Role> role_from(std::string_view);

/// Who asks, as far as a token says.
struct Actor {
  std::string name;
  Role role = Role::viewer;
};

inline constexpr std::string_view token_prefix = "mfy_";

/// A token's text: the prefix and 32 random bytes (base64url).
std::string token_text(std::string_view random_bytes);

/// What is kept of it: SHA-256, hex. Enough, since a token is not guessable.
std::string token_hash(std::string_view token);

}  // namespace mayfly
