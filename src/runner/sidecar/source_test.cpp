#include "runner/sidecar/source.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "adapters/git/git_forge.h"
#include "net/test_server.h"
#include "support/temp_dir.h"

namespace mayfly {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class SourceTest : public testing::Test {
 protected:
  SourceTest() {
    sh("git init -q -b main src && cd src && mkdir sub && echo one > file && echo deep > sub/f && printf 'x\\r\\n' > crlf && echo '* text=auto' > .gitattributes && ln -s file link"
       " && git add . && git commit -q -m first && git tag -a -m tagged v1 && echo two >> file && git commit -q -am second && git clone -q --bare . ../plain.git");
    sh("git clone -q --bare src mirror.git && cd mirror.git && for n in HEAD v1; do git update-ref refs/mayfly/$(git rev-parse $n) $(git rev-parse $n^{commit}); done");
    fs::create_directories(workspace());
  }

  fs::path workspace() const { return directory_.path() / "workspace"; }

  /// The script's output, without its last line feed.
  std::string sh(const std::string& script) {
    auto all = "cd " + directory_.path().string() +
               " && export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b; (" + script + ") > out 2>&1";
    EXPECT_EQ(::system(all.c_str()), 0) << script;
    std::ifstream in(directory_.path() / "out");
    std::string text{std::istreambuf_iterator<char>(in), {}};
    if (text.ends_with('\n')) text.pop_back();
    return text;
  }
  std::string in_workspace(const std::string& script) { return sh("cd workspace && " + script); }

  SourceRequest request(std::string repository, std::string sha, CheckoutSpec checkout = {}) {
    return {.source = {.repository = directory_.file(repository), .sha = std::move(sha), .ref = "refs/heads/main", .checkout = checkout},
            .workspace = workspace(), .origin = "https://example.org/x.git"};
  }
  std::string head() { return sh("git -C src rev-parse HEAD"); }
  std::string first() { return sh("git -C src rev-parse HEAD~1"); }

  void expect_second() {
    EXPECT_EQ(in_workspace("cat file"), "one\ntwo");
    EXPECT_EQ(in_workspace("cat sub/f link"), "deep\none\ntwo");
    EXPECT_EQ(in_workspace("git log -1 --format=%s"), "second");
    EXPECT_EQ(in_workspace("git status --porcelain"), "");
    EXPECT_EQ(in_workspace("git rev-parse HEAD"), head());
    EXPECT_EQ(in_workspace("git remote get-url origin"), "https://example.org/x.git");
    EXPECT_EQ(in_workspace("git fsck --connectivity-only 2>&1 | grep -v -e notice -e dangling || true"), "");
  }

  TempDir directory_;
  StopFlag stop_;
};

TEST_F(SourceTest, ComesFromAMirrorWithAllThatIsNeededAndNoMore) {
  auto got = check_out(request("mirror.git", head()), stop_);
  ASSERT_TRUE(got) << got.error().message;
  sh("rm -rf mirror.git");  // nothing is borrowed from it
  expect_second();
  EXPECT_EQ(in_workspace("git rev-list --count HEAD"), "1") << "shallow";
  EXPECT_EQ(in_workspace("git cat-file -t " + first() + " 2>&1 | grep -c 'could not get' || true"), "1");
}

TEST_F(SourceTest, ComesFromAMirrorByTheNameOfATag) {
  auto tag = sh("git -C src rev-parse v1");
  ASSERT_NE(tag, first());
  auto got = check_out(request("mirror.git", tag), stop_);
  ASSERT_TRUE(got) << got.error().message;
  EXPECT_EQ(in_workspace("git rev-parse HEAD"), first());
  EXPECT_EQ(in_workspace("cat file"), "one");
}

TEST_F(SourceTest, ComesFromAnyOtherRepositoryByAFetch) {
  auto got = check_out(request("plain.git", head()), stop_);
  ASSERT_TRUE(got) << got.error().message;
  expect_second();
  EXPECT_EQ(in_workspace("git rev-list --count HEAD"), "1");
}

TEST_F(SourceTest, HasTheWholeHistoryWhenThatIsAskedFor) {
  auto got = check_out(request("mirror.git", head(), {.depth = 0}), stop_);
  ASSERT_TRUE(got) << got.error().message;
  expect_second();
  EXPECT_EQ(in_workspace("git rev-list --count HEAD"), "2");
}

TEST_F(SourceTest, ACommitThatIsNowhereIsNamed) {
  for (auto repository : {"mirror.git", "plain.git"}) {
    auto got = check_out(request(repository, std::string(40, 'a')), stop_);
    ASSERT_FALSE(got) << repository;
    EXPECT_EQ(got.error().code, Errc::not_found) << got.error().message;
    fs::remove_all(workspace());
    fs::create_directories(workspace());
  }
}

/// A gateway with a mirror of its own, that this runner cannot see.
class OverTheWire : public SourceTest {
 protected:
  OverTheWire() {
    fs::create_directories(directory_.path() / "gateway");
    auto serve = [this](http::Request request, std::optional<std::string> body, std::string head) -> Task<http::Response> {
      ++asked;
      if (failures-- > 0) co_return http::problem(Error{failing, "not now", {}});
      if (request.headers.get("Authorization") != "Bearer secret-token" || request.headers.get("Mayfly-Fence") != "7") co_return http::problem(Error{Errc::unauthenticated, "who?", {}});
      auto deep = co_await forge->deepen(directory_.file("src"), commit, "refs/heads/main", depth);
      if (!deep) co_return http::problem(deep.error());
      auto git = co_await forge->serve(directory_.file("src"), commit, std::move(body));
      if (!git) co_return http::problem(git.error());
      std::string buffer(64 << 10, ' ');
      for (;;) {
        auto n = co_await (*git)->read(buffer);
        if (!n || *n == 0) co_return http::text_response(200, head, request.method == "GET" ? "application/x-git-upload-pack-advertisement" : "application/x-git-upload-pack-result");
        head += buffer.substr(0, *n);
      }
    };
    router.add("GET", "/{gateway}/source.git/info/refs", [serve](http::Request r) -> Task<http::Response> { co_return co_await serve(std::move(r), std::nullopt, "001e# service=git-upload-pack\n0000"); });
    router.add("POST", "/{gateway}/source.git/git-upload-pack", [serve](http::Request r) -> Task<http::Response> {
      auto body = std::move(r.body);
      co_return co_await serve(std::move(r), std::move(body), "");
    }, {.unpacks_body = true});
    server.emplace(router);
    commit = head();
  }

  SourceRequest wired(CheckoutSpec checkout = {}, std::string repository = "/nowhere/mirrors/abc") {
    depth = checkout.depth;
    auto out = request("none", commit, checkout);
    out.source.repository = std::move(repository);
    out.wire = {.urls = {server->url("/g/source.git")}, .token = "secret-token", .fence = Fence{7}};
    return out;
  }

  std::unique_ptr<Offload> threads = make_thread_offload(1);
  std::unique_ptr<GitForge> forge = std::make_unique<GitForge>(*threads, directory_.path() / "gateway/mirrors");
  http::Router router;
  std::optional<http::testing_support::TestServer> server;
  std::string commit;
  int depth = 1;
  std::atomic<int> failures = 0, asked = 0;
  Errc failing = Errc::unavailable;
};

TEST_F(OverTheWire, ComesFromTheServerWhenItsMirrorIsNotHere) {
  auto got = check_out(wired(), stop_);
  ASSERT_TRUE(got) << got.error().message;
  expect_second();
  EXPECT_EQ(in_workspace("git rev-list --count HEAD"), "1");
  EXPECT_EQ(in_workspace("grep -r -e secret-token -e /g/source .git || echo nothing"), "nothing") << "neither token nor address stays";
}

TEST_F(OverTheWire, HistoryComesAsDeepAsItIsAskedFor) {
  auto got = check_out(wired({.depth = 0}), stop_);
  ASSERT_TRUE(got) << got.error().message;
  expect_second();
  EXPECT_EQ(in_workspace("git rev-list --count HEAD"), "2");
}

TEST_F(OverTheWire, AnotherMachinesMirrorAtTheSamePlaceIsNoHindrance) {
  sh("git init -q --bare stale.git");
  auto got = check_out(wired({}, directory_.file("stale.git")), stop_);
  ASSERT_TRUE(got) << got.error().message;
  expect_second();
}

TEST_F(OverTheWire, AMirrorHereThatHasNoHistoryIsNotTakenForTheWhole) {
  auto got = check_out(wired({.depth = 0}, directory_.file("mirror.git")), stop_);
  ASSERT_TRUE(got) << got.error().message;
  EXPECT_GT(asked, 0);
  EXPECT_EQ(in_workspace("git rev-list --count HEAD"), "2");
}

TEST_F(OverTheWire, TheMirrorThatIsHereIsReadHere) {
  auto got = check_out(wired({}, directory_.file("mirror.git")), stop_);
  ASSERT_TRUE(got) << got.error().message;
  EXPECT_EQ(asked, 0);
}

TEST_F(OverTheWire, AGatewayThatIsAwayIsReplacedByAnotherAndABusyOneAskedAgain) {
  auto away = wired();
  away.wire.urls.insert(away.wire.urls.begin(), "http://127.0.0.1:1/g/source.git");
  ASSERT_TRUE(check_out(away, stop_));
  fs::remove_all(workspace());
  fs::create_directories(workspace());
  failures = 1;
  failing = Errc::rate_limited;
  auto got = check_out(wired(), stop_);
  ASSERT_TRUE(got) << got.error().message;
}

TEST_F(OverTheWire, ANoIsANo) {
  auto wrong = wired();
  wrong.wire.token = "another";
  auto got = check_out(wrong, stop_);
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, Errc::forbidden) << got.error().message;
  EXPECT_EQ(got.error().message.find("another"), std::string::npos);
  EXPECT_LE(asked, 2);
}

TEST_F(OverTheWire, AStopEndsItAlsoBetweenTries) {
  auto nobody = wired();
  nobody.wire.urls = {"http://127.0.0.1:1/g/source.git"};
  std::thread later([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    stop_.raise();
  });
  auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(check_out(nobody, stop_).error().code, Errc::canceled);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));
  later.join();
}

TEST_F(SourceTest, NamesThatAreNoneAreRefusedBeforeGitSeesThem) {
  for (auto sha : {"HEAD", "--upload-pack=touch pwned", "", "ABCDEFABCDEFABCDEFABCDEFABCDEFABCDEFABCD"}) {
    auto got = check_out(request("plain.git", sha), stop_);
    ASSERT_FALSE(got);
    EXPECT_EQ(got.error().code, Errc::invalid);
  }
  auto option = request("plain.git", head());
  option.source.repository = "--upload-pack=touch pwned";
  EXPECT_FALSE(check_out(option, stop_));
  auto helper = request("plain.git", head());
  helper.source.repository = "ext::touch " + directory_.file("pwned");
  EXPECT_FALSE(check_out(helper, stop_));
  EXPECT_FALSE(fs::exists(directory_.path() / "pwned"));
}

TEST_F(SourceTest, RunsNothingThatTheRepositoryBrings) {
  sh("cd src && mkdir -p .githooks && printf '#!/bin/sh\\ntouch '$PWD'/../pwned\\n' > .githooks/post-checkout && chmod +x .githooks/post-checkout"
     " && echo '* filter=evil' > .gitattributes && git add . && git commit -q -m hooks && git clone -q --bare . ../hooks.git && mkdir -p ../hooks.git/hooks && cp .githooks/post-checkout ../hooks.git/hooks/"
     " && git -C ../hooks.git config filter.evil.smudge 'touch " + directory_.file("pwned") + "'");
  auto got = check_out(request("hooks.git", head()), stop_);
  ASSERT_TRUE(got) << got.error().message;
  EXPECT_FALSE(fs::exists(directory_.path() / "pwned"));
}

TEST_F(SourceTest, AStopEndsIt) {
  stop_.raise();
  auto got = check_out(request("plain.git", head()), stop_);
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, Errc::canceled);
}

TEST_F(SourceTest, SubmodulesAreLeftToTheJob) {
  EXPECT_THAT(submodule_script({.submodules = true}), HasSubstr("git submodule update --init --recursive --depth 1\n"));
  EXPECT_THAT(submodule_script({.depth = 0, .submodules = true}), HasSubstr("git submodule update --init --recursive\n"));
}

}  // namespace
}  // namespace mayfly
