#pragma once
// Bearer tokens: who asks, and whether they may. Tokens are shown once and kept as hashes.

#include <optional>
#include <string>
#include <string_view>

#include "domain/access/access.h"
#include "net/router.h"
#include "ports/clock.h"
#include "ports/database.h"

namespace mayfly {

struct NewToken {
  std::string name;
  Role role = Role::viewer;
  std::optional<Duration> lifetime;
};

struct CreatedToken {
  TokenId id;
  std::string token;             // shown this once
};

class Access final {
 public:
  Access(Database& db, Clock& clock, Entropy& entropy) : db_(db), clock_(clock), entropy_(entropy) {}

  Task<Result<CreatedToken>> create(NewToken wanted);
  /// Makes sure that `token` (from the data directory) is an owner's.
  Task<Result<void>> ensure_owner(std::string token);
  /// Errc::unauthenticated.
  Task<Result<Actor>> authenticate(std::optional<std::string_view> authorization);

  /// A row for a unit of the caller's.
  Statement audit_row(const Actor& actor, std::string action, std::string subject, std::string detail = {});
  Task<void> audit(const Actor& actor, std::string action, std::string subject, std::string detail = {});

 private:
  Database& db_;
  Clock& clock_;
  Entropy& entropy_;
};

}  // namespace mayfly
