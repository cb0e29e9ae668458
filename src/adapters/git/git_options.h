#pragma once
// How the git adapter may use the machine.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>

namespace mayfly {

struct GitOptions {
  std::string program = "git";
  std::string ssh_command = "ssh -oBatchMode=yes -oConnectTimeout=10";
  std::chrono::milliseconds time_limit = std::chrono::minutes(2);   // of one git command
  std::int64_t max_fetch_bytes = std::int64_t(2) << 30;             // of one fetched pack
  std::chrono::milliseconds serve_limit = std::chrono::minutes(15);  // of one answer to a fetching runner, at its speed
  unsigned served_at_once = 16;                                     // of them
  unsigned fetches = 4;                                             // at once, each of another repository
  int deepen_to = 200;    // commits of a ref looked through for a commit the server would not give by name
  std::chrono::hours keep_commits_for = std::chrono::hours(24 * 7);   // since they were last asked for
  std::size_t max_packs = 50;           // of a mirror, and loose files below: more are packed into one
  std::size_t max_loose_objects = 2000;
  unsigned tidy_after_fetches = 32;     // of a mirror
  bool local_repositories = true;   // false where whoever adds a project must not reach this machine's files
};

}  // namespace mayfly
