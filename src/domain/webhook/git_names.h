#pragma once
// What a commit and a ref may be called. Webhooks, API calls and pipelines bring such names from outside and git is asked
// about them later, so they are checked once, here, before they travel.

#include <cstddef>
#include <string_view>

namespace mayfly {

inline constexpr std::size_t max_ref_bytes = 1024;

/// 40 lower-case hex digits (or 64, of a SHA-256 repository).
bool is_commit_sha(std::string_view text);

/// The "no commit" of a push that creates or deletes a ref.
bool is_zero_sha(std::string_view text);

/// A name `git check-ref-format --allow-onelevel` accepts, at most max_ref_bytes long, that no program can take for an option.
bool is_ref_name(std::string_view text);

}  // namespace mayfly
