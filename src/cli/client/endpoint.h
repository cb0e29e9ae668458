#pragma once
// Which server a command talks to, and as whom.

#include <string>

#include "base/result.h"
#include "cli/arguments.h"
#include "cli/world.h"

namespace mayfly::cli {

inline constexpr std::size_t max_token_bytes = 4096;

struct Endpoint {
  std::string url = {};    // without a slash at its end
  std::string token = {};  // empty: none was found
};

/// --server, MAYFLY_SERVER, else http://127.0.0.1:8080; --token-file, MAYFLY_TOKEN, else the token `mayfly up` left in the
/// data directory, if it left one there and the server is on this machine. Errc::invalid for a URL that is none and a --token-file that cannot be read.
Result<Endpoint> find_endpoint(const Connection& connection, const Environment& environment);

}  // namespace mayfly::cli
