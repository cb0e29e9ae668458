#pragma once
// The repository somebody works in, as it is on disk: its pipeline files, what is checked out, and a commit of its working
// tree that leaves no trace in it. What `lint`, `plan` and `run` look at.

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "domain/pipeline/planner.h"

namespace mayfly::cli {

class Checkout final {
 public:
  /// The git repository around `directory`, or the directory alone where there is none. Errc::invalid: no such directory.
  static Result<Checkout> open(const std::string& directory);

  const std::string& root() const { return root_; }
  bool is_repository() const { return !git_dir_.empty(); }
  const std::string& ref() const { return ref_; }   // "refs/heads/main"; empty when no branch is checked out
  const std::string& head() const { return head_; } // 40 hex digits; empty before the first commit

  /// `.ci.yaml`, else every `.ci/*.yaml` by name. Errc::not_found: neither is there.
  Result<std::vector<PipelineFile>> pipeline_files() const;

  /// Makes a bare repository at `bare` whose `ref` is a commit of the working tree: changed and new files included, ignored
  /// ones not. Its objects go to `bare`; repository, index and branches stay as they are. Returns the commit.
  Result<std::string> snapshot(const std::string& bare, const std::string& ref) const;

 private:
  Checkout() = default;
  std::string root_;
  std::string git_dir_;
  std::string ref_;
  std::string head_;
};

/// One pipeline file by its path. Errc::invalid: it cannot be read; Errc::too_large.
Result<PipelineFile> read_pipeline_file(const std::string& root, const std::string& path);

}  // namespace mayfly::cli
