#include "domain/webhook/github.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/digest.h"
#include "domain/webhook/git_names.h"

namespace mayfly {
namespace {

const std::string sha_a(40, 'a'), sha_b(40, 'b'), zero(40, '0');

// The example of GitHub's documentation, which @octokit/webhooks-methods tests with too.
const std::string secret = "It's a Secret to Everybody";
constexpr std::string_view hello = "Hello, World!";
const std::string hello_signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

bool verified(std::vector<std::string> secrets, std::string_view body, std::string_view signature) {
  return verify_github(secrets, body, signature);
}

std::string push_payload(std::string ref, std::string before, std::string after, std::string more = "") {
  return R"({"ref": ")" + ref + R"(", "before": ")" + before + R"(", "after": ")" + after + R"(", )" + more +
         R"("repository": {"full_name": "acme/web", "clone_url": "https://forge.test/acme/web.git"}, "sender": {"login": "ada"}})";
}

std::string pull_request_payload(std::string action, std::string head_repo = R"({"id": 1, "full_name": "acme/web"})") {
  return R"({"action": ")" + action + R"(", "number": 7, "pull_request": {"title": "T", "user": {"login": "ada"}, "updated_at": "2026-01-02T03:04:05Z",
    "head": {"sha": ")" + sha_a + R"(", "ref": "feature/x", "repo": )" + head_repo + R"(},
    "base": {"sha": ")" + sha_b + R"(", "ref": "main", "repo": {"id": 1, "full_name": "acme/web"}}},
    "repository": {"full_name": "acme/web"}})";
}

DecodedWebhook decoded(std::string_view event, const std::string& payload) {
  auto hook = decode_github(event, payload);
  EXPECT_TRUE(hook) << hook.error().message;
  return hook.value_or(DecodedWebhook{});
}

bool refused(std::string_view event, const std::string& payload) {
  auto hook = decode_github(event, payload);
  return !hook && hook.error().code == Errc::invalid && !hook.error().message.empty();
}

TEST(GitHubSignature, TheDocumentedVectorFits) {
  EXPECT_TRUE(verified({secret}, hello, hello_signature));
}

TEST(GitHubSignature, EitherOfTwoLiveSecretsFitsAndNoThird) {
  EXPECT_TRUE(verified({"new", secret}, hello, hello_signature));
  EXPECT_TRUE(verified({secret, "old"}, hello, hello_signature));
  EXPECT_FALSE(verified({"new", "old"}, hello, hello_signature));
  EXPECT_FALSE(verified({"new", "old", secret}, hello, hello_signature));
  EXPECT_FALSE(verified({}, hello, hello_signature));
}

TEST(GitHubSignature, AnythingElseDoesNot) {
  EXPECT_FALSE(verified({secret}, "Hello, World", hello_signature));
  EXPECT_FALSE(verified({secret}, hello, ""));
  EXPECT_FALSE(verified({secret}, hello, "sha256="));
  EXPECT_FALSE(verified({secret}, hello, hello_signature.substr(7)));
  EXPECT_FALSE(verified({secret}, hello, "sha1=" + hello_signature.substr(7)));
  EXPECT_FALSE(verified({secret}, hello, hello_signature + "00"));
  for (std::size_t i = 7; i < hello_signature.size(); ++i) {
    auto other = hello_signature;
    other[i] = other[i] == '1' ? '2' : '1';
    EXPECT_FALSE(verified({secret}, hello, other)) << i;
    other[i] = 'g';
    EXPECT_FALSE(verified({secret}, hello, other)) << i;
  }
}

TEST(GitHubSignature, AnEmptySecretFitsNothing) {
  auto mac = "sha256=" + to_hex(hmac_sha256("", hello));
  EXPECT_FALSE(verified({""}, hello, mac));
  EXPECT_FALSE(verified({"x", ""}, hello, mac));
}

TEST(GitHubPush, ABranchBuildsItsNewCommit) {
  auto hook = decoded("push", push_payload("refs/heads/main", sha_a, sha_b,
      R"("head_commit": {"id": ")" + sha_b + R"(", "message": "fix: it\n\nreally", "author": {"name": "Ada", "email": "ada@acme.test"}}, )"));
  EXPECT_EQ(hook.kind, WebhookKind::push);
  EXPECT_TRUE(hook.makes_build());
  EXPECT_EQ(hook.repository, (RepositoryNames{.full_name = "acme/web", .clone_url = "https://forge.test/acme/web.git"}));
  EXPECT_EQ(hook.ref, "refs/heads/main");
  EXPECT_EQ(hook.before, sha_a);
  EXPECT_EQ(hook.sha, sha_b);
  EXPECT_EQ(hook.message, "fix: it\n\nreally");
  EXPECT_EQ(hook.author, "Ada <ada@acme.test>");
  EXPECT_EQ(hook.sender, "ada");
  EXPECT_EQ(hook.meaning, "push refs/heads/main " + sha_a + " " + sha_b);
}

TEST(GitHubPush, AnAnnotatedTagBuildsTheCommitItNames) {
  auto hook = decoded("push", push_payload("refs/tags/v1", zero, sha_a, R"("head_commit": {"id": ")" + sha_b + R"("}, )"));
  EXPECT_TRUE(hook.makes_build());
  EXPECT_EQ(hook.after, sha_a);
  EXPECT_EQ(hook.sha, sha_b);
}

TEST(GitHubPush, ADeletedRefBuildsNothingHoweverItIsSaid) {
  for (auto& payload : {push_payload("refs/heads/x", sha_a, zero), push_payload("refs/heads/x", sha_a, zero, R"("deleted": true, )"),
                        push_payload("refs/heads/x", sha_a, sha_b, R"("deleted": true, )")}) {
    auto hook = decoded("push", payload);
    EXPECT_EQ(hook.kind, WebhookKind::remove);
    EXPECT_FALSE(hook.makes_build());
    EXPECT_EQ(hook.meaning, "");
  }
}

TEST(GitHubPush, OtherRefsThanBranchesAndTagsBuildNothing) {
  auto hook = decoded("push", push_payload("refs/notes/commits", sha_a, sha_b));
  EXPECT_EQ(hook.kind, WebhookKind::ignored);
  EXPECT_THAT(hook.reason, testing::HasSubstr("refs/notes/commits"));
}

TEST(GitHubPush, HostileNamesAreRefused) {
  EXPECT_TRUE(refused("push", push_payload("", sha_a, sha_b)));
  EXPECT_TRUE(refused("push", push_payload("--upload-pack=x", sha_a, sha_b)));
  EXPECT_TRUE(refused("push", push_payload("refs/heads/../../x", sha_a, sha_b)));
  EXPECT_TRUE(refused("push", push_payload("refs/heads/x\\u0000", sha_a, sha_b)));
  EXPECT_TRUE(refused("push", push_payload("refs/heads/" + std::string(max_ref_bytes, 'x'), sha_a, sha_b)));
  EXPECT_TRUE(refused("push", push_payload("refs/heads/main", sha_a, "HEAD")));
  EXPECT_TRUE(refused("push", push_payload("refs/heads/main", sha_a, sha_b + "b")));
  EXPECT_TRUE(refused("push", push_payload("refs/heads/main", "-" + sha_a, sha_b)));
  EXPECT_TRUE(refused("push", "{}"));
}

TEST(GitHubPullRequest, OpenedAndSynchronizedMeanTheSameHead) {
  auto opened = decoded("pull_request", pull_request_payload("opened"));
  EXPECT_EQ(opened.kind, WebhookKind::pull_request);
  EXPECT_EQ(opened.ref, "refs/pull/7/head");
  EXPECT_EQ(opened.sha, sha_a);
  EXPECT_EQ(opened.message, "T");
  EXPECT_EQ(opened.pull_request, (PullRequest{.number = 7, .action = "opened", .title = "T", .head_sha = sha_a, .head_ref = "feature/x",
                                              .base_ref = "main", .base_sha = sha_b, .fork = false}));
  EXPECT_EQ(opened.meaning, "pull_request 7 head " + sha_a);
  EXPECT_EQ(decoded("pull_request", pull_request_payload("synchronize")).meaning, opened.meaning);
  EXPECT_EQ(decoded("pull_request", pull_request_payload("synchronized")).pull_request->action, "synchronize") << "as Gitea calls it";
}

TEST(GitHubPullRequest, ReopeningBuildsAgainAndOnlyOncePerReopening) {
  auto reopened = decoded("pull_request", pull_request_payload("reopened"));
  EXPECT_TRUE(reopened.makes_build());
  EXPECT_EQ(reopened.meaning, "pull_request 7 reopened " + sha_a + " 2026-01-02T03:04:05Z");
}

TEST(GitHubPullRequest, AForkIsKnownByItsRepositoryEvenWhenThatIsGone) {
  EXPECT_FALSE(decoded("pull_request", pull_request_payload("opened")).pull_request->fork);
  auto fork = decoded("pull_request", pull_request_payload("opened", R"({"id": 2, "full_name": "eve/web", "clone_url": "https://forge.test/eve/web.git"})"));
  EXPECT_TRUE(fork.pull_request->fork);
  EXPECT_EQ(fork.pull_request->head_clone_url, "https://forge.test/eve/web.git");
  EXPECT_TRUE(decoded("pull_request", pull_request_payload("opened", "null")).pull_request->fork);
  EXPECT_TRUE(decoded("pull_request", pull_request_payload("opened", "{}")).pull_request->fork);
  EXPECT_TRUE(decoded("pull_request", pull_request_payload("opened", R"({"id": 2, "full_name": "acme/web"})")).pull_request->fork) << "a name can be taken over, an id cannot";
}

TEST(GitHubPullRequest, OtherActionsBuildNothingAndSayWhich) {
  auto hook = decoded("pull_request", pull_request_payload("labeled"));
  EXPECT_EQ(hook.kind, WebhookKind::ignored);
  EXPECT_THAT(hook.reason, testing::HasSubstr("labeled"));
}

TEST(GitHubPullRequest, WithoutItsPartsItIsRefused) {
  EXPECT_TRUE(refused("pull_request", R"({"action": "opened"})"));
  EXPECT_TRUE(refused("pull_request", R"({"action": "opened", "number": -1, "pull_request": {}})"));
}

TEST(GitHubEvents, ANewTagIsBuiltByItsPushAlone) {
  auto hook = decoded("create", R"({"ref": "v1", "ref_type": "tag", "repository": {"full_name": "acme/web"}})");
  EXPECT_EQ(hook.kind, WebhookKind::create);
  EXPECT_FALSE(hook.makes_build());
  EXPECT_THAT(hook.reason, testing::HasSubstr("push"));
}

TEST(GitHubEvents, DeletePingAndAllOthersBuildNothing) {
  EXPECT_EQ(decoded("delete", R"({"ref": "v1", "ref_type": "tag"})").kind, WebhookKind::remove);
  EXPECT_EQ(decoded("ping", R"({"zen": "x"})").kind, WebhookKind::ping);
  auto star = decoded("star", "{}");
  EXPECT_EQ(star.kind, WebhookKind::ignored);
  EXPECT_THAT(star.reason, testing::HasSubstr("star"));
  EXPECT_TRUE(refused("", "{}"));
  EXPECT_TRUE(refused("Push\n", "{}"));
  EXPECT_TRUE(refused("star", "[]"));
}

TEST(GitHubLimits, ABodyHasOneAndOnePastItIsTooLarge) {
  std::string body = "{}";
  body.resize(max_webhook_bytes, ' ');
  EXPECT_TRUE(decode_github("star", body));
  body += ' ';
  auto hook = decode_github("star", body);
  ASSERT_FALSE(hook);
  EXPECT_EQ(hook.error().code, Errc::too_large);
  EXPECT_EQ(github_repository(body).error().code, Errc::too_large);
}

TEST(GitHubLimits, ProseIsCutNamesAndUrlsAreNot) {
  auto message = std::string(max_webhook_text_bytes + 1, 'm');
  auto hook = decoded("push", push_payload("refs/heads/main", sha_a, sha_b, R"("head_commit": {"message": ")" + message + R"("}, )"));
  EXPECT_EQ(hook.message.size(), max_webhook_text_bytes);
  auto url = std::string(max_webhook_url_bytes, 'u');
  auto with_url = [](const std::string& u) { return R"({"repository": {"full_name": "a/b", "clone_url": ")" + u + R"("}})"; };
  EXPECT_EQ(decoded("star", with_url(url)).repository.clone_url, url);
  EXPECT_EQ(decoded("star", with_url(url + "u")).repository.clone_url, "");
}

TEST(GitHubRepository, IsFoundWithoutReadingOn) {
  auto payload = R"({"ref": "x", "repository": {"full_name": "acme/web", "ssh_url": "git@forge.test:acme/web.git"}, broken)";
  auto names = github_repository(payload);
  ASSERT_TRUE(names) << names.error().message;
  EXPECT_EQ(*names, (RepositoryNames{.full_name = "acme/web", .ssh_url = "git@forge.test:acme/web.git"}));
  EXPECT_FALSE(github_repository(R"({"zen": "x"})"));
  EXPECT_FALSE(github_repository(R"({"repository": null})"));
}

TEST(GitHubForm, ThePayloadFieldIsTheJson) {
  EXPECT_EQ(github_payload("application/json", "{}"), "{}");
  EXPECT_EQ(github_payload("application/x-www-form-urlencoded; charset=utf-8", "a=b&payload=%7B%22a%22%3A+%22%2b%22%7D&c"), R"({"a": "+"})");
  EXPECT_EQ(github_payload("application/x-www-form-urlencoded", "payload=100%&x"), "100%");
  EXPECT_FALSE(github_payload("application/x-www-form-urlencoded", "a=b"));
  EXPECT_FALSE(github_payload("application/x-www-form-urlencoded", ""));
}

TEST(GitNames, KnowCommitsAndRefs) {
  EXPECT_TRUE(is_commit_sha(sha_a));
  EXPECT_TRUE(is_commit_sha(std::string(64, '1')));
  EXPECT_FALSE(is_commit_sha(std::string(40, 'A')));
  EXPECT_FALSE(is_commit_sha(std::string(39, 'a')));
  EXPECT_TRUE(is_zero_sha(zero));
  EXPECT_FALSE(is_zero_sha(sha_a));
  for (auto good : {"main", "refs/heads/main", "feature/ü", "v1.0", "a@b", "a/-b", "refs/heads/a;b$(c)"}) EXPECT_TRUE(is_ref_name(good)) << good;
  for (auto bad : {"", "@", "-x", "a..b", "a b", "a~1", "a^", "a:b", "a?", "a*", "a[", "a\\b", "a//b", "/a", "a/", "a/.b", ".a", "a.", "a.lock",
                   "a.lock/b", "a@{1}", "a\x7f", "a\nb"})
    EXPECT_FALSE(is_ref_name(bad)) << bad;
  EXPECT_TRUE(is_ref_name(std::string(max_ref_bytes, 'a')));
  EXPECT_FALSE(is_ref_name(std::string(max_ref_bytes + 1, 'a')));
}

}  // namespace
}  // namespace mayfly
