#pragma once
// Reads commits that are in a repository on this machine. Blocking, any thread, no process.

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "ports/forge.h"

namespace mayfly {

inline constexpr std::size_t max_pipeline_file_bytes = 1 << 20;
inline constexpr std::size_t max_pipeline_files = 100;
inline constexpr std::size_t max_commit_message_bytes = 64 << 10;   // longer ones are cut
inline constexpr std::size_t max_listed_paths = 1'000'000;
inline constexpr std::size_t max_changed_paths = 100'000;           // more count as unknown

// All take the directory of a repository. Errc::not_found: no such commit there; Errc::corrupt: its bytes are not what they were.

/// Errc::too_large past the limits above; Errc::invalid when a pipeline file is not a plain file.
Result<Snapshot> read_snapshot(const std::string& directory, const std::string& sha);

/// Sorted, each once; a rename is a path that went and one that came. nullopt past max_changed_paths.
Result<std::optional<std::vector<std::string>>> read_changed_paths(const std::string& directory, const std::string& before, const std::string& after);

/// "path hash" of every file and submodule whose path `wanted` says yes to, in path order.
Result<std::vector<std::string>> read_tree_hashes(const std::string& directory, const std::string& sha,
                                                  const std::function<bool(std::string_view)>& wanted);

/// The commit a branch, a tag, a full ref or "" (HEAD) names.
Result<std::string> read_ref(const std::string& directory, const std::string& ref);

}  // namespace mayfly
