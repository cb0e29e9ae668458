#pragma once
// Where source comes from. Webhook bodies are decoded by pure code (domain/webhook); this is the part that reaches out:
// files and source by git.

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "async/task.h"
#include "base/result.h"

namespace mayfly {

struct CommitInfo {
  std::string sha;  // 40 hex digits
  std::string message;
  std::string author;
};

struct SourceFile {
  std::string path;
  std::string content;
};

/// What a build needs of a commit before it is planned.
struct Snapshot {
  CommitInfo commit;
  /// `.ci.yaml`, else every `.ci/*.yaml` by name; empty when there is none.
  std::vector<SourceFile> pipeline_files;
};

/// What git says to one that fetches, as it comes. Destroying it ends what says it.
class SourceStream {
 public:
  virtual ~SourceStream() = default;
  /// Fills the front of `into`; 0 is the end. After an error there is nothing more, and the whole is not whole.
  virtual Task<Result<std::size_t>> read(std::span<char> into) = 0;
};

class Forge {
 public:
  virtual ~Forge() = default;

  /// The commit a ref ("refs/heads/main", "main", "v1"; "" is the default branch) names now. A whole sha names itself.
  /// Errc::not_found; Errc::invalid; Errc::forbidden; Errc::unavailable.
  virtual Task<Result<std::string>> resolve(std::string repo_url, std::string ref) = 0;

  /// Fetches the commit into the local mirror (shallow, once) and reads its pipeline. `ref` is where to look when the
  /// server refuses to be asked for a sha; may be empty. The sha of a tag object leads to its commit. Errc::not_found;
  /// Errc::too_large; Errc::invalid: a name that is none, or a pipeline file that is no plain file; Errc::forbidden: the
  /// credentials do not do; Errc::timeout, Errc::canceled, Errc::unavailable.
  virtual Task<Result<Snapshot>> snapshot(std::string repo_url, std::string sha, std::string ref) = 0;

  /// Paths changed between two commits, sorted (renames give both names). An unknown or all-zero `before`, or more changes
  /// than are listed, gives nullopt.
  virtual Task<Result<std::optional<std::vector<std::string>>>> changed_paths(std::string repo_url, std::string before,
                                                                              std::string after) = 0;

  /// Where two commits' histories part: the last commit that both have. Nothing when there is none, or the server gives one of
  /// them only through a ref. Errors as of snapshot().
  virtual Task<Result<std::optional<std::string>>> merge_base(std::string repo_url, std::string one, std::string other) = 0;

  /// "path hash" of every file of the commit that matches one of the globs, in path order: for hash_files.
  virtual Task<Result<std::vector<std::string>>> tree_hashes(std::string repo_url, std::string sha,
                                                             std::vector<std::string> globs) = 0;

  /// Brings history of a commit into the mirror: its last `depth` commits, all of them for 0. Errors as of snapshot().
  virtual Task<Result<void>> deepen(std::string repo_url, std::string sha, std::string ref, int depth) = 0;

  /// Where a runner on this machine finds the commit without asking the network: a git repository's directory.
  virtual Task<Result<std::string>> mirror(std::string repo_url) = 0;

  /// One exchange of git's smart HTTP (upload-pack, version 0) over the mirror, which has the commit: what there is to fetch, or the answer
  /// to `request`, the body of a client's POST. It shows that commit as refs/mayfly/<sha>; of all else in the mirror only what it leads to
  /// can be had. Errc::not_found: it is not in the mirror. Errc::rate_limited: too many at once; ask again. Errc::unsupported: not here.
  virtual Task<Result<std::unique_ptr<SourceStream>>> serve(std::string, std::string, std::optional<std::string>) {
    co_return fail(Errc::unsupported, "this server gives no source to runners on other machines");
  }
};

}  // namespace mayfly
