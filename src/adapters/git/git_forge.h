#pragma once
// The Forge that is git itself: any repository git can fetch from. Commits are fetched once, shallow, into a local mirror
// and read there in-process; a commit that is already here costs no process and no network.

#include <filesystem>
#include <memory>

#include "adapters/git/git_options.h"
#include "async/offload.h"
#include "ports/forge.h"

namespace mayfly {

class GitForge final : public Forge {
 public:
  /// Reads run on `reads`, which outlives this; fetches on threads of its own. `mirrors` is a directory of the server's
  /// alone, made when needed; whatever is in it can be fetched again.
  GitForge(Offload& reads, std::filesystem::path mirrors, GitOptions options = {});
  /// Stops what runs, as stop() does; no call may be under way.
  ~GitForge() override;

  Task<Result<std::string>> resolve(std::string repo_url, std::string ref) override;
  Task<Result<Snapshot>> snapshot(std::string repo_url, std::string sha, std::string ref) override;
  Task<Result<std::optional<std::vector<std::string>>>> changed_paths(std::string repo_url, std::string before, std::string after) override;
  Task<Result<std::optional<std::string>>> merge_base(std::string repo_url, std::string one, std::string other) override;
  Task<Result<std::vector<std::string>>> tree_hashes(std::string repo_url, std::string sha, std::vector<std::string> globs) override;
  Task<Result<void>> deepen(std::string repo_url, std::string sha, std::string ref, int depth) override;
  Task<Result<std::string>> mirror(std::string repo_url) override;
  Task<Result<std::unique_ptr<SourceStream>>> serve(std::string repo_url, std::string sha, std::optional<std::string> request) override;

  /// Kills the git commands that run; their callers and later ones get Errc::canceled. Any thread. For a shutdown, before
  /// the coroutines that wait for a fetch are joined.
  void stop();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace mayfly
