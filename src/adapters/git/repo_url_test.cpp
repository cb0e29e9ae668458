#include "adapters/git/repo_url.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mayfly {
namespace {

RepoUrl parsed(std::string_view text) {
  auto url = parse_repo_url(text);
  EXPECT_TRUE(url) << url.error().message;
  return url.value_or(RepoUrl{});
}

TEST(RepoUrl, KnowsWhatIsOnThisMachine) {
  EXPECT_EQ(parsed("/srv/git/web.git").local, "/srv/git/web.git");
  EXPECT_EQ(parsed("file:///srv/git/a%20b.git").local, "/srv/git/a b.git");
  EXPECT_EQ(parsed("https://forge.test/acme/web.git").local, std::nullopt);
}

TEST(RepoUrl, TakesEveryTransportThatIsAllowed) {
  for (auto text : {"https://forge.test/acme/web.git", "http://forge.test:8080/a", "ssh://git@forge.test:22/a.git", "git://forge.test/a.git", "git@forge.test:acme/web.git"})
    EXPECT_EQ(parsed(text).text, text);
  EXPECT_EQ(parsed("git@forge.test:acme/web.git").scheme, "ssh");
}

TEST(RepoUrl, TakesCredentialsOutOfTheAddress) {
  auto url = parsed("https://bot:t%40ken%2f@forge.test:8443/acme/web.git");
  EXPECT_EQ(url.text, "https://forge.test:8443/acme/web.git");
  EXPECT_EQ(url.user, "bot");
  EXPECT_EQ(url.password, "t@ken/");
  EXPECT_EQ(url.origin, "https://forge.test:8443/");
  EXPECT_EQ(parsed("https://token@forge.test/a").user, "token");
}

TEST(RepoUrl, WhoHasOtherCredentialsHasAnotherMirror) {
  EXPECT_NE(parsed("https://a:b@forge.test/x").mirror_name, parsed("https://forge.test/x").mirror_name);
  EXPECT_EQ(parsed("https://forge.test/x").mirror_name, parsed("https://forge.test/x").mirror_name);
}

TEST(RepoUrl, RefusesWhatGitCouldTakeForSomethingElse) {
  for (auto text : {"", "-x", "--upload-pack=touch /tmp/x", "ext::sh -c 'touch x'", "fd::17", "ext::sh://x/y", "a/b", "../a", ".", "/a/../../etc", "file://../a",
                    "file://host/a", "ftp://forge.test/a", "HTTPS://forge.test/a", "ssh://-oProxyCommand=x/a", "ssh://-x@forge.test/a", "ssh://a:b@forge.test/a",
                    "git://-x/a", "-x@forge.test:a", "git@-x:a", "git@forge.test:-x", "git@forge.test:", "git@forge.test::a", "https://", "https:///a",
                    "https://forge.test", "https://forge.test/", "https://forge.test/-x", "https://a b/\n", "/a\nb", "https://forge.test/a\x7f", "transport::https://x/y"}) {
    auto url = parse_repo_url(text);
    ASSERT_FALSE(url) << text;
    EXPECT_EQ(url.error().code, Errc::invalid);
  }
  EXPECT_FALSE(parse_repo_url(std::string_view("/a\0b", 4)));
  EXPECT_TRUE(parse_repo_url("/" + std::string(max_repo_url_bytes - 1, 'a')));
  EXPECT_FALSE(parse_repo_url("/" + std::string(max_repo_url_bytes, 'a')));
}

TEST(RepoUrl, ARefusalShowsNoPassword) {
  for (auto text : {"https://bot:secret@forge.test", "ftp://bot:secret@forge.test/x", "ssh://bot:secret@forge.test/x"})
    EXPECT_THAT(parse_repo_url(text).error().message, testing::Not(testing::HasSubstr("secret"))) << text;
}

TEST(RepoUrl, RedactedShowsNoUserinfo) {
  EXPECT_EQ(redacted("https://bot:secret@forge.test/x"), "https://***@forge.test/x");
  EXPECT_EQ(redacted("https://a@b:secret@forge.test/x@y"), "https://***@forge.test/x@y");
  EXPECT_EQ(redacted("https://forge.test/x@y"), "https://forge.test/x@y");
  EXPECT_EQ(redacted("git@forge.test:x"), "***@forge.test:x");
  EXPECT_EQ(redacted("/srv/a@b"), "/srv/a@b");
}

}  // namespace
}  // namespace mayfly
