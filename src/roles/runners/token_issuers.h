#pragma once
// How pools' platforms vouch for their runners, as each pool's keeper learned it: so that any gateway can check a runner's token without
// reaching the platform.

#include <optional>
#include <string>

#include "ports/database.h"
#include "ports/executor.h"

namespace mayfly {

/// Stands or falls with its unit; takes the place of what was said before.
Statement store_token_issuer(const std::string& pool, const TokenIssuer& issuer, Time now);

/// Nothing for a pool whose runners have boot tokens, or whose keeper has not asked its platform yet.
Task<Result<std::optional<TokenIssuer>>> token_issuer_of(Database& db, std::string pool);

}  // namespace mayfly
