#pragma once
// Globs of filters and paths: `*` within a path segment, `**` across segments, `?` one character; all else literal.

#include <string_view>
#include <vector>
#include <string>

namespace mayfly {

inline constexpr std::size_t max_glob_bytes = 256;

/// True if the whole text matches. "a/**/b" matches "a/b", "**/x" matches "x", "docs/" means "docs/**".
/// Takes time proportional to pattern times text; a pattern longer than max_glob_bytes matches nothing.
bool glob_match(std::string_view pattern, std::string_view text);

/// Patterns in order, `!` takes back, the last one that matches decides. If the first is negated, all begins matched.
bool matches_filter(const std::vector<std::string>& patterns, std::string_view text);

}  // namespace mayfly
