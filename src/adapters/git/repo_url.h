#pragma once
// A repository's address, checked before git sees it: which transport, where on this machine if it is here, and the
// credentials taken out so that they never reach an argument list, an environment or a log.

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace mayfly {

inline constexpr std::size_t max_repo_url_bytes = 2048;

struct RepoUrl {
  std::string text{};                             // what git is given: without a password
  std::string scheme{};                           // file | http | https | ssh | git
  std::optional<std::filesystem::path> local{};   // where it is, when it is on this machine
  std::string user{};                             // of http(s), percent-decoded
  std::string password{};
  std::string origin{};                           // of http(s): "https://forge.test/", what the credentials are good for
  std::string mirror_name{};                      // its mirror's directory: a hash of the address with its credentials

  bool operator==(const RepoUrl&) const = default;
};

/// Takes absolute paths, file, http, https, ssh and git URLs, and ssh's short form (git@host:path). Errc::invalid for all
/// else: other transports (`ext::`), relative paths, anything a program could read as an option, control characters.
Result<RepoUrl> parse_repo_url(std::string_view text);

/// The address with `***` in place of a user and password, safe to show.
std::string redacted(std::string_view url);

}  // namespace mayfly
