#pragma once
// Which files of a workspace a list of globs means: artifacts, outputs, JUnit files. Blocking.

#include <string>
#include <vector>

#include "runner/sidecar/tree.h"

namespace mayfly {

struct Collected {
  std::vector<TreeEntry> entries;         // files, links and directories that match, by path
  std::vector<std::string> unmatched;     // globs that matched nothing
};

/// Globs as in domain/pipeline/glob.h; one that names a directory means everything below it; `!` in front takes away what
/// earlier ones gave. ".git" counts only when it is named. Errc::too_large: a limit of Tree, or a glob over max_glob_bytes.
Result<Collected> collect(const Tree& tree, const std::vector<std::string>& globs);

}  // namespace mayfly
