#pragma once
// What only the git program can do: talk to a remote. The command lines, the configuration they run under, and what git's
// complaints mean.

#include <optional>
#include <string>
#include <vector>

#include "adapters/git/git_options.h"
#include "adapters/git/git_process.h"
#include "adapters/git/mirror.h"
#include "adapters/git/repo_url.h"
#include "base/result.h"

namespace mayfly {

class Remote final {
 public:
  Remote(const RepoUrl& url, const GitOptions& options, const StopFlag& stop) : url_(url), options_(options), stop_(stop) {}

  /// Fetches the commit, shallow, into the mirror and marks it there: by its name, or through `ref` where the server gives
  /// no commit by name. Errc::not_found, Errc::forbidden, Errc::too_large, Errc::unavailable.
  Result<void> fetch(const Mirror& into, const std::string& sha, const std::string& ref) const;

  /// Brings the last `depth` commits (0: all) that lead to a commit which is in the mirror. Same errors.
  Result<void> deepen(const Mirror& in, const std::string& sha, const std::string& ref, int depth) const;

  /// The last commit that both have in their histories, of which it brings as much as that takes. Same errors.
  Result<std::optional<std::string>> merge_base(const Mirror& in, const std::string& one, const std::string& other) const;

  /// The commit a ref names now; "" is the default branch. Same errors.
  Result<std::string> resolve(const std::string& ref) const;

 private:
  const RepoUrl& url_;
  const GitOptions& options_;
  const StopFlag& stop_;

  Result<GitFinished> run(std::vector<std::string> arguments) const;
  struct Refspec {
    std::string what;
    std::string as;   // what it is called here
  };
  Result<void> fetch_refs(const Mirror& into, const std::vector<Refspec>& refs, int depth) const;
  Result<void> fetch_one(const Mirror& into, const std::string& what, const std::string& as, int depth) const { return fetch_refs(into, {{what, as}}, depth); }
  Result<void> fetch_through(const Mirror& into, const std::string& sha, const std::string& ref) const;
};

}  // namespace mayfly
