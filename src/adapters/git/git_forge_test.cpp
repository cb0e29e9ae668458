// What the contract does not say of a Forge: what git is told, how often it is started, and what becomes of it and of the
// mirror when it hangs, is killed, or brings too much.

#include "adapters/git/git_forge.h"

#include <gmock/gmock.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <thread>

#include "adapters/git/repo_url.h"
#include "async/scope.h"
#include "support/git_repository.h"
#include "support/run.h"
#include "support/server_process.h"
#include "support/temp_dir.h"

namespace mayfly {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::Not;

std::string read(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

bool appears(const std::filesystem::path& path) {
  for (auto until = std::chrono::steady_clock::now() + 20s; std::chrono::steady_clock::now() < until; std::this_thread::sleep_for(2ms))
    if (std::filesystem::exists(path)) return true;
  return false;
}

// An environment variable while it lives.
struct Variable {
  Variable(const char* name_, const std::string& value) : name(name_), before(std::getenv(name_) ? std::getenv(name_) : "") { ::setenv(name, value.c_str(), 1); }
  ~Variable() { before.empty() ? ::unsetenv(name) : ::setenv(name, before.c_str(), 1); }
  const char* name;
  std::string before;
};

struct HttpServer {
  explicit HttpServer(const std::filesystem::path& root, std::vector<std::string> options = {}) : process(command(root, std::move(options))), port(process.line()) {}
  std::string url(const std::string& login = "") const { return "http://" + login + "127.0.0.1:" + port + "/web.git"; }

  static std::vector<std::string> command(const std::filesystem::path& root, std::vector<std::string> options) {
    options.insert(options.begin(), {"python3", MAYFLY_SOURCE_DIR "/tests/support/git_http_server.py", root.string()});
    return options;
  }
  ServerProcess process;
  std::string port;
};

struct GitForgeTest : testing::Test {
  TempDir dir;
  std::filesystem::path root = dir.path() / "forge";
  GitRepository repo{root / "web.git"};
  std::unique_ptr<Offload> pool = make_thread_offload(2);
  TestLoop loop;

  GitForge make(GitOptions options = {}) { return GitForge(*pool, dir.path() / "mirrors", std::move(options)); }
  Result<Snapshot> snapshot(GitForge& forge, const std::string& url, const std::string& sha) {
    return loop.run(forge.snapshot(url, sha, "refs/heads/main"));
  }

  /// A git that notes in `calls` the command lines and environments it was started with.
  GitOptions watched() {
    auto program = dir.file("git-watched");
    std::ofstream(program) << "#!/bin/sh\n{ echo \"call $*\"; cat /proc/$$/environ | tr '\\0' '\\n'; } >> '" << calls().string() << "'\nexec git \"$@\"\n";
    std::filesystem::permissions(program, std::filesystem::perms::owner_all);
    return {.program = program};
  }
  std::filesystem::path calls() const { return dir.path() / "calls"; }
  std::size_t fetches() const {
    auto text = read(calls());
    std::size_t n = 0;
    for (auto at = text.find(" fetch "); at != text.npos; at = text.find(" fetch ", at + 1)) ++n;
    return n;
  }
  /// The only mirror there is, sound for git and without leftovers.
  void expect_sound_mirror() const {
    for (auto& entry : std::filesystem::directory_iterator(dir.path() / "mirrors")) {
      if (!entry.is_directory()) continue;
      EXPECT_EQ(shell(entry.path(), "git fsck --no-dangling --connectivity-only 2>&1 | grep -v '^notice: '; find . -name 'tmp_*' -o -name '*.lock'"), "");
    }
  }
};

TEST_F(GitForgeTest, ALocalRepositoryIsReadWithoutStartingGit) {
  auto forge = make({.program = "/nonexistent/git"});
  auto first = repo.push_file(".ci.yaml", "1");
  auto second = repo.push_file(".ci.yaml", "2");
  EXPECT_EQ(snapshot(forge, repo.bare(), second)->pipeline_files[0].content, "2");
  EXPECT_EQ(loop.run(forge.resolve(repo.bare(), "main")), second);
  EXPECT_TRUE(loop.run(forge.changed_paths(repo.bare(), first, second)));
}

TEST_F(GitForgeTest, WithoutGitARemoteIsUnavailableAndSaysSo) {
  auto forge = make({.program = "/nonexistent/git"});
  auto got = snapshot(forge, "https://127.0.0.1:1/web.git", std::string(40, 'a'));
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, Errc::unavailable);
  EXPECT_THAT(got.error().message, HasSubstr("/nonexistent/git"));
}

TEST_F(GitForgeTest, AServerThatIsNotThereIsUnavailable) {
  auto forge = make();
  auto got = snapshot(forge, "http://127.0.0.1:" + std::to_string(free_port()) + "/web.git", std::string(40, 'a'));
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, Errc::unavailable) << got.error().message;
}

TEST_F(GitForgeTest, ACommitIsFetchedOnceHoweverManyAsk) {
  HttpServer server(root);
  auto forge = make(watched());
  auto sha = repo.push_file(".ci.yaml", "1");
  auto ask = [&]() -> Task<void> {
    auto got = co_await forge.snapshot(server.url(), sha, "refs/heads/main");
    EXPECT_TRUE(got) << got.error().message;
  };
  auto all = [&]() -> Task<void> {
    Scope scope(loop.loop());
    for (int i = 0; i < 10; ++i) scope.spawn(ask());
    co_await scope.join();
  };
  loop.run(all());
  EXPECT_EQ(fetches(), 1u);
}

TEST_F(GitForgeTest, ASlowRepositoryDoesNotHoldUpAnother) {
  HttpServer slow(root);
  GitRepository other(root / "other.git");
  auto sha = repo.push_file(".ci.yaml", "1"), theirs = other.push_file(".ci.yaml", "2");
  std::ofstream(root / "stall") << "";
  auto forge = make({.fetches = 2});
  auto wait = [&]() -> Task<void> { EXPECT_FALSE(co_await forge.snapshot(slow.url(), sha, "refs/heads/main")); };
  auto all = [&]() -> Task<void> {
    Scope scope(loop.loop());
    for (int i = 0; i < 8; ++i) scope.spawn(wait());
    EXPECT_TRUE(co_await forge.snapshot(other.bare(), theirs, "refs/heads/main"));
    forge.stop();
    co_await scope.join();
  };
  loop.run(all());
}

TEST_F(GitForgeTest, CredentialsAreUsedAndNeverShown) {
  HttpServer server(root, {"--login", "bot:s3cret/x"});
  auto forge = make(watched());
  auto sha = repo.push_file(".ci.yaml", "1");
  auto got = snapshot(forge, server.url("bot:s3cret%2Fx@"), sha);
  ASSERT_TRUE(got) << got.error().message;
  EXPECT_THAT(read(calls()), HasSubstr(" fetch "));
  for (auto word : {"s3cret", "bot", "Basic"}) EXPECT_THAT(read(calls()), Not(HasSubstr(word)));
  auto wrong = snapshot(forge, server.url("bot:wr0ng@"), sha);
  ASSERT_FALSE(wrong) << "whoever has no right to a repository gets nothing out of another's mirror either";
  EXPECT_EQ(wrong.error().code, Errc::forbidden) << wrong.error().message;
  EXPECT_THAT(wrong.error().message + wrong.error().hint, Not(HasSubstr("wr0ng")));
  EXPECT_EQ(snapshot(forge, server.url(), sha).error().code, Errc::forbidden);
  EXPECT_EQ(shell(dir.path(), "grep -r s3cret mirrors || true"), "");
}

TEST_F(GitForgeTest, NoConfigurationOfTheMachineReachesGit) {
  HttpServer server(root);
  auto home = dir.path() / "home";
  std::filesystem::create_directories(home);
  std::ofstream(home / ".gitconfig") << "[url \"http://127.0.0.1:1/\"]\n\tinsteadOf = " << server.url().substr(0, server.url().rfind('/') + 1) << "\n";
  auto sha = repo.push_file(".ci.yaml", "1");
  Variable its_home("HOME", home), of_a_hook("GIT_DIR", "/nonexistent");
  auto forge = make();
  auto got = snapshot(forge, server.url(), sha);
  EXPECT_TRUE(got) << got.error().message;
}

TEST_F(GitForgeTest, AFetchThatBringsTooMuchIsTooLarge) {
  shell(repo.work(), "head -c 3000000 /dev/urandom > large");
  auto sha = repo.push_file(".ci.yaml", "1");
  HttpServer server(root);
  auto forge = make({.max_fetch_bytes = 1 << 20});
  auto got = snapshot(forge, server.url(), sha);
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, Errc::too_large) << got.error().message;
  expect_sound_mirror();
  auto roomy = make({.max_fetch_bytes = 4 << 20});
  EXPECT_TRUE(snapshot(roomy, server.url(), sha));
}

TEST_F(GitForgeTest, AFetchThatHangsIsKilledAtItsLimitAndTheMirrorStaysUsable) {
  HttpServer server(root);
  auto sha = repo.push_file(".ci.yaml", "1");
  std::ofstream(root / "stall") << "";
  auto forge = make({.time_limit = 4s});
  auto got = snapshot(forge, server.url(), sha);
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, Errc::timeout) << got.error().message;
  EXPECT_TRUE(appears(root / "gone")) << "git's helpers must die with it";
  std::filesystem::remove(root / "stall");
  auto patient = make();
  EXPECT_TRUE(snapshot(patient, server.url(), sha));
  expect_sound_mirror();
}

TEST_F(GitForgeTest, StopEndsWhatRunsAtOnce) {
  HttpServer server(root);
  auto sha = repo.push_file(".ci.yaml", "1");
  std::ofstream(root / "stall") << "";
  auto forge = make();
  std::thread stopper([&] {
    EXPECT_TRUE(appears(root / "stalled"));
    forge.stop();
  });
  auto got = snapshot(forge, server.url(), sha);
  stopper.join();
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, Errc::canceled);
  EXPECT_EQ(snapshot(forge, server.url(), sha).error().code, Errc::canceled) << "nothing starts afterwards";
}

TEST_F(GitForgeTest, KilledInTheMiddleOfAFetchNothingIsLeftThatHurts) {
  HttpServer server(root);
  auto sha = repo.push_file(".ci.yaml", "1");
  std::ofstream(root / "stall") << "";
  pid_t child = fork();
  if (child == 0) {
    auto threads = make_thread_offload(1);
    GitForge forge(*threads, dir.path() / "mirrors");
    std::ignore = run(forge.snapshot(server.url(), sha, "refs/heads/main"));
    _exit(0);
  }
  EXPECT_TRUE(appears(root / "stalled"));
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  EXPECT_TRUE(appears(root / "gone")) << "git must die with the server";
  std::filesystem::remove(root / "stall");
  auto forge = make();
  auto got = snapshot(forge, server.url(), sha);
  EXPECT_TRUE(got) << got.error().message;
  expect_sound_mirror();
}

TEST_F(GitForgeTest, LocksAndHalfPacksThatAKilledGitLeftAreCleared) {
  HttpServer server(root);
  auto first = repo.push_file(".ci.yaml", "1"), second = repo.push_file(".ci.yaml", "2");
  auto forge = make();
  auto mirror = loop.run(forge.mirror(server.url())).value();
  for (auto leftover : {std::string("shallow.lock"), std::string("objects/pack/tmp_pack_x"), "refs/mayfly/" + second + ".lock"}) std::ofstream(mirror + "/" + leftover) << "x";
  ASSERT_TRUE(snapshot(forge, server.url(), second));
  EXPECT_TRUE(snapshot(forge, server.url(), first));
  expect_sound_mirror();
}

TEST_F(GitForgeTest, WhereLocalRepositoriesAreNotAllowedTheyAreForbidden) {
  auto sha = repo.push_file(".ci.yaml", "1");
  auto forge = make({.local_repositories = false});
  EXPECT_EQ(snapshot(forge, repo.bare(), sha).error().code, Errc::forbidden);
  EXPECT_EQ(snapshot(forge, "file://" + repo.bare().string(), sha).error().code, Errc::forbidden);
}

TEST_F(GitForgeTest, ABrokenMirrorIsFetchedAnew) {
  auto sha = repo.push_file(".ci.yaml", "1");
  HttpServer server(root);
  for (auto& url : {repo.bare().string(), server.url()})
    for (auto damage : {"find objects -type f -exec chmod u+w {} + -exec truncate -s 0 {} +", "rm -rf objects/*", "rm config HEAD"}) {
      auto forge = make();
      ASSERT_TRUE(snapshot(forge, url, sha));
      shell(loop.run(forge.mirror(url)).value(), damage);
      auto got = snapshot(forge, url, sha);
      EXPECT_TRUE(got) << url << ": " << damage << ": " << got.error().message;
      expect_sound_mirror();
    }
}

TEST_F(GitForgeTest, CommitsNobodyAskedForInALongTimeAreForgottenAndTheOthersPacked) {
  auto old = repo.push_file(".ci.yaml", "old"), used = repo.push_file(".ci.yaml", "used");
  auto forge = make({.keep_commits_for = 24h, .tidy_after_fetches = 4});
  ASSERT_TRUE(snapshot(forge, repo.bare(), old) && snapshot(forge, repo.bare(), used));
  auto mirror = loop.run(forge.mirror(repo.bare())).value();
  shell(mirror, "touch -d '2 days ago' refs/mayfly/* && find objects -type f -exec touch -d '2 days ago' {} +");
  ASSERT_TRUE(snapshot(forge, repo.bare(), used));
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(snapshot(forge, repo.bare(), repo.push_file("more", std::to_string(i))));
  std::ignore = loop.run(forge.mirror(repo.bare()));   // its turn comes after the tidying
  EXPECT_FALSE(std::filesystem::exists(mirror + "/refs/mayfly/" + old));
  EXPECT_NE(shell(mirror, "git cat-file -t " + old + " 2>&1 || true"), "commit");
  EXPECT_EQ(shell(mirror, "git cat-file -t " + used), "commit");
  EXPECT_EQ(shell(mirror, "find objects -name '*.pack' | wc -l"), "1");
  expect_sound_mirror();
  EXPECT_EQ(snapshot(forge, repo.bare(), old)->pipeline_files[0].content, "old") << "it can be fetched again";
}

TEST_F(GitForgeTest, ManySmallPacksBecomeOne) {
  HttpServer server(root);
  auto forge = make({.max_packs = 3, .tidy_after_fetches = 4});
  std::vector<std::string> shas;
  for (int i = 0; i < 4; ++i) shas.push_back(repo.push_file(".ci.yaml", std::to_string(i)));
  for (auto& sha : shas) ASSERT_TRUE(snapshot(forge, server.url(), sha));
  auto mirror = loop.run(forge.mirror(server.url())).value();
  EXPECT_EQ(shell(mirror, "find objects -name '*.pack' | wc -l"), "1");
  for (auto& sha : shas) EXPECT_TRUE(snapshot(forge, server.url(), sha));
  expect_sound_mirror();
}

TEST_F(GitForgeTest, HooksOfARepositoryNeverRun) {
  auto forge = make();
  auto mirror = loop.run(forge.mirror(repo.bare())).value();
  auto trap = dir.file("trap");
  for (auto place : {repo.bare() / "hooks", std::filesystem::path(mirror) / "hooks"})
    for (auto hook : {"reference-transaction", "post-checkout", "pre-upload", "post-index-change", "fsmonitor-watchman"}) {
      std::filesystem::create_directories(place);
      std::ofstream(place / hook) << "#!/bin/sh\ntouch '" << trap << "'\n";
      std::filesystem::permissions(place / hook, std::filesystem::perms::all);
    }
  for (int i = 0; i < 400; ++i) repo.write("many/" + std::to_string(i), std::to_string(i));
  repo.write(".ci.yaml", "1");
  auto sha = repo.commit("more than is copied one by one");
  repo.push("main");
  std::filesystem::remove(trap);
  ASSERT_TRUE(snapshot(forge, repo.bare(), sha));
  EXPECT_FALSE(std::filesystem::exists(trap));
}

TEST_F(GitForgeTest, WhatIsNotFsckCleanIsRefused) {
  repo.write(".ci.yaml", "1");
  repo.commit("x");
  auto blob = repo.git("hash-object -w .ci.yaml");
  auto tree = repo.git("mktree --missing <<E\n100644 blob " + blob + "\t.ci.yaml\n040000 tree " + repo.git("mktree <<E\n100644 blob " + blob + "\t..\nE") + "\t.git\nE");
  auto sha = repo.git("commit-tree -m evil " + tree);
  repo.git("update-ref refs/heads/main " + sha);
  repo.push("main");
  HttpServer server(root);
  auto forge = make();
  auto got = snapshot(forge, server.url(), sha);
  ASSERT_FALSE(got);
  EXPECT_FALSE(std::filesystem::exists(loop.run(forge.mirror(server.url())).value() + "/refs/mayfly/" + sha));
}

}  // namespace
}  // namespace mayfly
