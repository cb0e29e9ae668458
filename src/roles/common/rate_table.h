#pragma once
// The limits of requests, in one place.

#include <optional>

#include "domain/access/gcra.h"

namespace mayfly {

/// Generous: they are for loops gone wild, not for people. Nothing: no limit.
struct RateTable {
  std::optional<Rate> token = per_second(1'000, 10'000);         // requests with one token
  std::optional<Rate> organization = per_second(2'000, 20'000);  // requests about one organization
  std::optional<Rate> deliveries = per_second(100, 5'000);       // webhooks of one organization that are processed
};

}  // namespace mayfly
