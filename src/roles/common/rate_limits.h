#pragma once
// Who asks too much waits, so that the others need not: limits a token and an organization, shared by all processes through the
// cache. When the cache is away each process keeps its own count instead; nobody is refused because of that.

#include <string>
#include <unordered_map>

#include "base/ids.h"
#include "ports/cache.h"
#include "ports/clock.h"
#include "roles/common/rate_table.h"

namespace mayfly {

inline constexpr std::size_t max_local_rates = 100'000;               // keys a process counts itself; beyond, it begins anew
inline constexpr Duration max_delivery_wait = std::chrono::hours{1};  // of one turn

/// Rates of this process alone.
class LocalRates final {
 public:
  /// A rate and cost that check_rate() lets pass.
  Admission admit(const std::string& key, Rate rate, std::int64_t cost, Time now);
  std::size_t size() const { return instants_.size(); }

 private:
  std::unordered_map<std::string, Time> instants_;
};

class RateLimits final {
 public:
  /// Both outlive it.
  RateLimits(Cache& cache, Clock& clock, RateTable table = {}) : cache_(cache), clock_(clock), table_(table) {}

  /// One request with a token, named by its hash. Errc::rate_limited says which limit, and when to come again.
  Task<Result<void>> check_token(std::string token_hash);
  /// One request about an organization's projects or builds. Errors as above.
  Task<Result<void>> check_organization(OrganizationId id);
  /// When an error above says to come again; at least a second.
  static std::chrono::seconds retry_after(const Error& error);

  /// How long the processing of one of an organization's webhooks has to wait; 0: it is its turn. Webhooks that wait get turns
  /// one after another, as far apart as the rate says, so that each comes back but once or twice. `waited`: this one has had a turn
  /// before, so that it does not stand at the end of the line again.
  Task<Duration> delivery_turn(OrganizationId id, bool waited);

 private:
  Task<Admission> admit(std::string key, Rate rate);
  Task<Result<void>> check(std::string key, std::optional<Rate> rate, std::string_view whose);

  Cache& cache_;
  Clock& clock_;
  const RateTable table_;
  LocalRates local_;
  std::unordered_map<std::string, Time> lines_;  // of organizations whose webhooks wait: the last turn given
};

}  // namespace mayfly
