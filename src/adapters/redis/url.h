#pragma once
// Which Redis: redis://[user:password@]host[:port][/database], or rediss:// over TLS.

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace mayfly {

inline constexpr std::uint16_t default_redis_port = 6379;

struct RedisTarget {
  std::string host = {};      // a name or an address, IPv6 without brackets
  std::uint16_t port = default_redis_port;
  std::string user = {};      // empty: the default user
  std::string password = {};  // empty: none is asked for
  int database = 0;
  bool tls = false;
  std::string authorities = {};  // not of the URL: PEM certificates that may vouch for a server with TLS; empty: the system's

  /// "host:6379/0": for logs and errors, without credentials.
  std::string name() const;
  bool operator==(const RedisTarget&) const = default;
};

/// Errc::invalid says what is wrong without repeating the URL, which may hold a password.
Result<RedisTarget> parse_redis_url(std::string_view url);

}  // namespace mayfly
