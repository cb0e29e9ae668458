#pragma once
// URLs as a server receives them and a client writes them (RFC 3986, the http, https and unix schemes). Everything here
// reads hostile text: a wrong escape is an error, never passed through.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace mayfly::http {

inline constexpr std::size_t kMaxUrlBytes = 64 * 1024;
inline constexpr std::size_t kMaxQueryPairs = 256;

/// "http://host:8080/path?query", "https://[::1]/", "unix:/run/docker.sock:/v1.41/info".
struct Url {
  std::string scheme = {};       // "http", "https" or "unix"
  std::string host = {};         // lower case, an IPv6 address without its brackets; empty for unix
  std::uint16_t port = 0;        // the scheme's own where the text names none; 0 for unix
  std::string socket_path = {};  // unix only
  std::string target = "/";     // path and query as they travel, still encoded

  bool operator==(const Url&) const = default;
};

/// Errc::invalid for other schemes, user names or passwords in it, control characters, wrong escapes or ports.
/// A fragment is dropped.
Result<Url> parse_url(std::string_view text);
std::string to_string(const Url&);

/// What a `Host` header holds: "example.org", "example.org:8080", "[::1]:8080", "localhost" for unix.
std::string host_field(const Url&);

/// Errc::invalid for a '%' not followed by two hex digits and for a NUL, encoded or not.
Result<std::string> percent_decode(std::string_view text);

/// Everything but RFC 3986's unreserved characters becomes %XX; `keep` names characters left as they are ("/" for paths).
std::string percent_encode(std::string_view text, std::string_view keep = {});

/// Decoded pairs in the order of the text; a name may come more than once.
struct Query {
  std::vector<std::pair<std::string, std::string>> pairs;

  std::optional<std::string_view> get(std::string_view name) const;  // the first of that name
  void add(std::string name, std::string value) { pairs.emplace_back(std::move(name), std::move(value)); }
  bool operator==(const Query&) const = default;
};

/// Reads "a=1&b=x+y"; '+' is a space. Errc::invalid for wrong escapes, Errc::too_large past kMaxQueryPairs.
Result<Query> parse_query(std::string_view text);

/// "a=1&b=x%20y", without the '?'.
std::string build_query(const Query&);

}  // namespace mayfly::http
