#include "domain/pipeline/glob.h"

#include <gtest/gtest.h>

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
