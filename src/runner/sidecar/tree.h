#pragma once
// The workspace as a directory that may hold anything: every path in it is resolved by the kernel below the root
// (openat2, RESOLVE_BENEATH), so neither ".." nor a symbolic link leads outside. Blocking.

#include <sys/stat.h>
#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "adapters/sandbox/unique_fd.h"
#include "base/result.h"

namespace mayfly {

inline constexpr std::size_t max_tree_depth_walked = 256;
inline constexpr std::size_t max_tree_entries = 1'000'000;   // looked at in one walk

struct TreeEntry {
  std::string path;            // relative, without "./"
  struct stat info;            // of the entry itself
};

class Tree final {
 public:
  /// Errc::not_found: no such directory.
  static Result<Tree> open(const std::string& directory);

  /// A plain file, through symbolic links that stay inside. Errc::not_found, Errc::forbidden (leads outside, or is no plain file).
  Result<UniqueFd> open_file(const std::string& path) const;
  /// A new file in place of whatever was there, with its directories; symbolic links on the way are refused (Errc::forbidden).
  Result<UniqueFd> create_file(const std::string& path, mode_t mode) const;
  Result<void> make_directory(const std::string& path, mode_t mode) const;
  /// A symbolic link whose target, resolved in text, stays inside; Errc::forbidden otherwise.
  Result<void> make_link(const std::string& path, const std::string& target) const;
  /// Where a symbolic link points to, as written.
  Result<std::string> read_link(const std::string& path) const;

  /// The entry at `path` and, if it is a directory, everything below it, parents first, each directory by name. Symbolic links are entries,
  /// not ways. `visit` returns false to leave a directory out. Absent is empty. Errc::too_large: a limit above.
  Result<void> walk(const std::string& path, const std::function<bool(const TreeEntry&)>& visit) const;

  /// Gives everything to `uid`; what cannot be given is an error.
  Result<void> give_to(uid_t uid, gid_t gid) const;

 private:
  explicit Tree(UniqueFd root) : root_(std::move(root)) {}
  Result<UniqueFd> open_parent(const std::string& path, std::string& name) const;

  UniqueFd root_;
};

/// "a/./b//c" → "a/b/c". Errc::forbidden for absolute paths, "..", NUL, and the empty path ("." stays ".").
Result<std::string> clean_path(std::string_view path);

/// Does a link at `path` with this target stay inside the tree, going by its text?
bool link_stays_inside(std::string_view path, std::string_view target);

}  // namespace mayfly
