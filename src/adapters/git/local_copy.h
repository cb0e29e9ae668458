#pragma once
// Brings a commit from a repository on this machine into a mirror without starting a process: reads the missing objects
// there and writes them here. The usual push is a handful of objects, and starting git costs more than copying them.

#include <cstddef>
#include <string>

#include "adapters/git/mirror.h"
#include "base/result.h"

namespace mayfly {

inline constexpr std::size_t max_copied_objects = 256;             // more are left to git, which moves packs
inline constexpr std::int64_t max_copied_bytes = 16 << 20;
inline constexpr std::size_t max_tree_depth = 256;

/// Copies the commit (what a tag leads to), its tree and files; every object is written after those it names, so an object
/// that exists in the mirror is whole. Returns the commit's own name. Errc::not_found: `from` has no such commit. Anything else:
/// `from` cannot be read this way or holds more than the limits above; git may do better.
Result<std::string> copy_commit(const std::string& from, const Mirror& into, const std::string& sha);

}  // namespace mayfly
