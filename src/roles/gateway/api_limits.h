#pragma once
// Which limits a call of the API counts against: its token's, and that of the organization it is about.

#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "ports/database.h"
#include "roles/common/rate_limits.h"

namespace mayfly {

inline constexpr std::size_t max_known_owners = 10'000;   // whose organization is remembered; beyond, it begins anew

class ApiLimits final {
 public:
  /// Both outlive it.
  ApiLimits(Database& db, RateLimits& limits) : db_(db), limits_(limits) {}

  /// `pattern` is the route's and `id` the value of its {id}, empty where it has none. What does not exist counts against no
  /// organization. Errc::rate_limited; see RateLimits::retry_after().
  Task<Result<void>> check(std::string token_hash, std::string_view pattern, std::string id);

 private:
  Task<std::optional<OrganizationId>> organization_of(std::string_view statement_text, std::string id);

  Database& db_;
  RateLimits& limits_;
  std::unordered_map<std::string, OrganizationId> known_;   // what a thing belongs to never changes
};

}  // namespace mayfly
