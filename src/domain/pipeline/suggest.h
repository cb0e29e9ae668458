#pragma once
// "Did you mean …": the known word nearest to what somebody wrote.

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mayfly {

/// The nearest of the known words (first thousand looked at), or "" when none is near enough to be meant.
std::string_view nearest(std::string_view word, std::span<const std::string_view> known);

/// "did you mean 'steps'?", or "known: a, b, c" when nothing is near.
std::string suggestion(std::string_view word, std::span<const std::string_view> known);

/// "a, b or c".
std::string one_of(std::span<const std::string_view> words);

}  // namespace mayfly
