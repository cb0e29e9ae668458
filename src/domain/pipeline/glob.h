#pragma once
// Globs of filters and paths: `*` within a path segment, `**` across segments, `?` one character; all else literal.

#include <array>
#include <bitset>
#include <string>
#include <string_view>
#include <vector>

namespace mayfly {

inline constexpr std::size_t max_glob_bytes = 256;

/// A pattern made ready: "a/**/b" matches "a/b", "**/x" matches "x", "docs/" means "docs/**". One longer than
/// max_glob_bytes matches nothing. Matching takes a fixed few steps for every byte of text, whatever the pattern
/// (Shift-And: Baeza-Yates and Gonnet, "A New Approach to Text Searching", 1992, with a bit a token that may repeat).
class Glob final {
 public:
  explicit Glob(std::string_view pattern);

  bool matches(std::string_view text) const;

 private:
  using States = std::bitset<max_glob_bytes + 3>;

  States widened(States states) const;

  std::size_t size_ = 0;            // tokens
  bool too_long_ = false;
  States stars_;                    // tokens that may stand for nothing
  States skips_;                    // "**" whose "/" may be left out with it
  States across_;                   // "**"
  States within_;                   // "*"
  States any_;                      // "?"
  std::array<States, 256> literal_; // by byte
};

bool glob_match(std::string_view pattern, std::string_view text);

/// Patterns in order, `!` takes back, the last one that matches decides. If the first is negated, all begins matched.
class Filter final {
 public:
  explicit Filter(const std::vector<std::string>& patterns);

  bool matches(std::string_view text) const;

 private:
  struct Rule {
    bool negated;
    Glob glob;
  };
  std::vector<Rule> rules_;
};

bool matches_filter(const std::vector<std::string>& patterns, std::string_view text);

}  // namespace mayfly
