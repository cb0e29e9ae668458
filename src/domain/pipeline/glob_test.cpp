#include "domain/pipeline/glob.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

namespace mayfly {
namespace {

TEST(Glob, StarStaysInItsSegment) {
  EXPECT_TRUE(glob_match("*", "main"));
  EXPECT_FALSE(glob_match("*", "release/1"));
  EXPECT_TRUE(glob_match("release/*", "release/1"));
  EXPECT_FALSE(glob_match("release/*", "release/1/2"));
  EXPECT_TRUE(glob_match("v*.*", "v1.2"));
  EXPECT_TRUE(glob_match("v?", "v1"));
  EXPECT_FALSE(glob_match("v?", "v"));
  EXPECT_FALSE(glob_match("a?b", "a/b"));
}

TEST(Glob, TwoStarsCrossSegments) {
  EXPECT_TRUE(glob_match("**", "a/b/c"));
  EXPECT_TRUE(glob_match("src/**", "src/a/b.c"));
  EXPECT_FALSE(glob_match("src/**", "lib/src/a"));
  EXPECT_TRUE(glob_match("**/*.md", "README.md"));
  EXPECT_TRUE(glob_match("**/*.md", "a/b/README.md"));
  EXPECT_FALSE(glob_match("**/*.md", "README.mdx"));
  EXPECT_TRUE(glob_match("a/**/b", "a/b"));
  EXPECT_TRUE(glob_match("a/**/b", "a/x/y/b"));
  EXPECT_FALSE(glob_match("a/**/b", "ab"));
  EXPECT_TRUE(glob_match("docs/", "docs/a/b"));
  EXPECT_FALSE(glob_match("docs/", "docs"));
}

TEST(Glob, EverythingElseIsItself) {
  EXPECT_TRUE(glob_match("a.b", "a.b"));
  EXPECT_FALSE(glob_match("a.b", "axb"));
  EXPECT_TRUE(glob_match("[x]", "[x]"));
  EXPECT_TRUE(glob_match("", ""));
  EXPECT_FALSE(glob_match("", "a"));
}

/// The same language, read by trying everything.
bool tries(std::string_view pattern, std::string_view text, bool at_segment = true) {
  if (pattern.empty()) return text.empty();
  if (pattern.starts_with("**")) {
    if (at_segment && pattern.substr(2).starts_with("/") && tries(pattern.substr(3), text)) return true;
    return tries(pattern.substr(2), text, false) || (!text.empty() && tries(pattern, text.substr(1), at_segment));
  }
  if (pattern[0] == '*') return tries(pattern.substr(1), text, false) || (!text.empty() && text[0] != '/' && tries(pattern, text.substr(1), false));
  if (text.empty()) return false;
  bool one = pattern[0] == '?' ? text[0] != '/' : pattern[0] == text[0];
  return one && tries(pattern.substr(1), text.substr(1), pattern[0] == '/');
}

TEST(Glob, IsAsTryingEverythingSays) {
  auto string_of = [](std::string_view letters) { return rc::gen::container<std::string>(rc::gen::elementOf(std::string(letters))); };
  EXPECT_TRUE(rc::check("glob_match", [&] {
    auto pattern = *rc::gen::scale(0.12, string_of("ab/**?/"));
    auto text = *rc::gen::scale(0.12, string_of("aab/"));
    RC_PRE(!pattern.contains("***"));
    RC_ASSERT(glob_match(pattern, text) == tries(pattern.ends_with('/') ? pattern + "**" : pattern, text));
  }));
}

TEST(Glob, HasALimit) {
  std::string longest(max_glob_bytes, 'a');
  EXPECT_TRUE(glob_match(longest, longest));
  EXPECT_FALSE(glob_match(longest + "a", longest + "a"));
  EXPECT_TRUE(glob_match(std::string(max_glob_bytes - 1, 'a') + "/", std::string(max_glob_bytes - 1, 'a') + "/x"));
}

TEST(Filter, TheLastMatchDecides) {
  EXPECT_TRUE(matches_filter({"src/**", "!src/docs/**"}, "src/a"));
  EXPECT_FALSE(matches_filter({"src/**", "!src/docs/**"}, "src/docs/a"));
  EXPECT_TRUE(matches_filter({"src/**", "!src/docs/**", "src/docs/keep"}, "src/docs/keep"));
  EXPECT_TRUE(matches_filter({"!docs/**"}, "src/a"));
  EXPECT_FALSE(matches_filter({"!docs/**"}, "docs/a"));
  EXPECT_FALSE(matches_filter({}, "a"));
}

}  // namespace
}  // namespace mayfly
