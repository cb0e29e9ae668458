#include "contract/forge_contract.h"

#include <gmock/gmock.h>

#include <set>

#include "async/scope.h"

namespace mayfly::contract {

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(ForgeContract);

namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Optional;

const std::string unknown_sha(40, 'd'), zero_sha(40, '0');

}  // namespace

ForgeContract::ForgeContract() : repo(dir.path() / "forge" / "web.git") {
  site = GetParam().serve(dir.path() / "forge");
  url = site->url_of("web.git");
  restart();
}

void ForgeContract::restart() {
  forge.reset();
  forge = GetParam().make(*pool, dir.path() / "mirrors");
}

Result<Snapshot> ForgeContract::snapshot(const std::string& sha, const std::string& ref) { return loop.run(forge->snapshot(url, sha, ref)); }

Errc ForgeContract::refusal(const std::string& sha, const std::string& ref) {
  auto got = snapshot(sha, ref);
  EXPECT_FALSE(got) << "a snapshot of " << sha;
  if (got) return Errc::internal;
  EXPECT_FALSE(got.error().message.empty());
  return got.error().code;
}

Result<std::string> ForgeContract::resolve(const std::string& ref) { return loop.run(forge->resolve(url, ref)); }

std::optional<std::vector<std::string>> ForgeContract::changed(const std::string& before, const std::string& after) {
  if (!GetParam().gives_any_commit)   // then both had their builds, or there is nothing to compare
    for (auto& sha : {before, after}) std::ignore = snapshot(sha);
  auto paths = loop.run(forge->changed_paths(url, before, after));
  EXPECT_TRUE(paths) << paths.error().message;
  return paths.value_or(std::nullopt);
}

TEST_P(ForgeContract, ResolvesBranchesTagsAndTheDefaultBranch) {
  auto first = repo.push_file("a", "1");
  repo.git("tag -a v1 -m one && git tag light");
  repo.push("v1");
  repo.push("light");
  auto second = repo.push_file("a", "2");
  EXPECT_EQ(resolve("refs/heads/main"), second);
  EXPECT_EQ(resolve("main"), second);
  EXPECT_EQ(resolve(""), second);
  EXPECT_EQ(resolve("v1"), first) << "an annotated tag names its commit";
  EXPECT_EQ(resolve("refs/tags/v1"), first);
  EXPECT_EQ(resolve("light"), first);
}

TEST_P(ForgeContract, ResolvesABranchBeforeATagOfItsName) {
  auto tagged = repo.push_file("a", "1");
  repo.git("tag both");
  auto branched = repo.push_file("a", "2");
  repo.git("branch both");
  repo.push("refs/tags/both");
  repo.push("refs/heads/both");
  EXPECT_EQ(resolve("both"), branched);
  EXPECT_EQ(resolve("refs/tags/both"), tagged);
}

TEST_P(ForgeContract, ResolvesNoPartOfAName) {
  repo.push_file("a", "1");
  repo.git("branch feature/main && git branch mainline");
  repo.push("feature/main");
  EXPECT_EQ(resolve("line").error().code, Errc::not_found);
  EXPECT_EQ(resolve("feature").error().code, Errc::not_found);
  EXPECT_EQ(resolve("refs/heads/gone").error().code, Errc::not_found);
}

TEST_P(ForgeContract, ASnapshotHasTheCommitAndItsPipeline) {
  auto sha = repo.push_file(".ci.yaml", "version: 1\n", "subject\n\nbody");
  auto got = snapshot(sha);
  ASSERT_TRUE(got) << got.error().message;
  EXPECT_EQ(got->commit.sha, sha);
  EXPECT_EQ(got->commit.message, "subject\n\nbody\n");
  EXPECT_EQ(got->commit.author, "Ada Lovelace <ada@acme.test>");
  ASSERT_EQ(got->pipeline_files.size(), 1u);
  EXPECT_EQ(got->pipeline_files[0].path, ".ci.yaml");
  EXPECT_EQ(got->pipeline_files[0].content, "version: 1\n");
}

TEST_P(ForgeContract, EachCommitHasThePipelineItWasPushedWith) {
  auto first = repo.push_file(".ci.yaml", "1");
  auto second = repo.push_file(".ci.yaml", "2");
  EXPECT_EQ(snapshot(second)->pipeline_files[0].content, "2");
  EXPECT_EQ(snapshot(first)->pipeline_files[0].content, "1");
  restart();
  EXPECT_EQ(snapshot(second)->pipeline_files[0].content, "2");
}

TEST_P(ForgeContract, WithoutOneFileEveryYamlInTheFolderCountsByName) {
  repo.write(".ci/b.yaml", "b");
  repo.write(".ci/a.yaml", "a");
  repo.write(".ci/notes.txt", "x");
  repo.write(".ci/deeper/c.yaml", "c");
  auto folder = repo.push_file(".ci/folder.yaml/x", "x");
  auto got = snapshot(folder);
  ASSERT_TRUE(got) << got.error().message;
  ASSERT_EQ(got->pipeline_files.size(), 2u);
  EXPECT_EQ(got->pipeline_files[0].path, ".ci/a.yaml");
  EXPECT_EQ(got->pipeline_files[1].content, "b");
  auto both = repo.push_file(".ci.yaml", "one");
  ASSERT_EQ(snapshot(both)->pipeline_files.size(), 1u);
  EXPECT_EQ(snapshot(both)->pipeline_files[0].content, "one");
}

TEST_P(ForgeContract, ACommitWithoutAPipelineHasNone) {
  auto sha = repo.push_file("README", "hello");
  EXPECT_THAT(snapshot(sha)->pipeline_files, IsEmpty());
  EXPECT_THAT(snapshot(repo.push_file(".ci", "a file, not a folder"))->pipeline_files, IsEmpty());
}

TEST_P(ForgeContract, APipelineFileHasALimitAndOneBytePastItIsTooLarge) {
  auto at_limit = repo.push_file(".ci.yaml", std::string(1 << 20, '#'));
  EXPECT_EQ(snapshot(at_limit)->pipeline_files[0].content.size(), std::size_t(1) << 20);
  auto past = repo.push_file(".ci.yaml", std::string((1 << 20) + 1, '#'));
  EXPECT_EQ(refusal(past), Errc::too_large);
}

TEST_P(ForgeContract, APipelineFileIsNoLinkAndNoFolder) {
  shell(repo.work(), "ln -s /etc/passwd .ci.yaml");
  auto linked = repo.commit("link");
  repo.push("main");
  EXPECT_EQ(refusal(linked), Errc::invalid);
  shell(repo.work(), "rm .ci.yaml");
  EXPECT_EQ(refusal(repo.push_file(".ci.yaml/x", "x")), Errc::invalid);
}

TEST_P(ForgeContract, ATagObjectLeadsToItsCommit) {
  auto commit = repo.push_file(".ci.yaml", "1");
  repo.git("tag -a v1 -m one");
  repo.push("v1");
  auto tag = repo.git("rev-parse v1");
  auto got = snapshot(tag, "refs/tags/v1");
  ASSERT_TRUE(got) << got.error().message;
  EXPECT_EQ(got->commit.sha, commit);
  auto mirror = loop.run(forge->mirror(url)).value();
  for (auto& name : {tag, commit}) EXPECT_EQ(shell(mirror, "cat refs/mayfly/" + name), commit) << "runners find it by either name";
}

TEST_P(ForgeContract, ACommitPushedOverIsFoundIfTheServerStillGivesIt) {
  repo.push_file("base", "x");
  auto old = repo.push_file(".ci.yaml", "old");
  repo.git("reset -q --hard HEAD^");
  repo.write(".ci.yaml", "new");
  auto fresh = repo.commit("rewritten");
  repo.push("+main:main");
  EXPECT_EQ(snapshot(fresh)->pipeline_files[0].content, "new");
  if (GetParam().gives_any_commit)
    EXPECT_EQ(snapshot(old)->pipeline_files[0].content, "old");
  else
    EXPECT_EQ(refusal(old), Errc::not_found);
}

TEST_P(ForgeContract, ACommitBehindItsBranchIsFoundEvenWhenOnlyTheBranchCanBeAskedFor) {
  auto old = repo.push_file(".ci.yaml", "old");
  for (int i = 0; i < 5; ++i) repo.push_file("more", std::to_string(i));
  auto got = snapshot(old, "refs/heads/main");
  ASSERT_TRUE(got) << got.error().message;
  EXPECT_EQ(got->pipeline_files[0].content, "old");
}

TEST_P(ForgeContract, ACommitOfADeletedBranchIsFoundIfTheServerStillGivesIt) {
  repo.push_file("base", "x");
  repo.git("checkout -q -b feature");
  repo.write(".ci.yaml", "feature");
  auto sha = repo.commit("feature");
  repo.push("feature");
  repo.push(":feature");
  if (GetParam().gives_any_commit)
    EXPECT_EQ(snapshot(sha, "refs/heads/feature")->pipeline_files[0].content, "feature");
  else
    EXPECT_EQ(refusal(sha, "refs/heads/feature"), Errc::not_found);
}

TEST_P(ForgeContract, ACommitOnceFetchedNeedsNoServer) {
  auto sha = repo.push_file(".ci.yaml", "kept");
  ASSERT_TRUE(snapshot(sha));
  std::filesystem::remove_all(repo.bare());
  restart();
  EXPECT_EQ(snapshot(sha)->pipeline_files[0].content, "kept");
}

TEST_P(ForgeContract, UnknownThingsAreNotFound) {
  repo.push_file("a", "1");
  EXPECT_EQ(refusal(unknown_sha), Errc::not_found);
  EXPECT_EQ(refusal(unknown_sha, ""), Errc::not_found);
  EXPECT_EQ(refusal(repo.git("rev-parse HEAD:a")), Errc::not_found) << "a file is not a commit";
  auto missing = loop.run(forge->snapshot(site->url_of("none.git"), unknown_sha, "refs/heads/main"));
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, Errc::not_found) << missing.error().message;
  auto nowhere = loop.run(forge->resolve(site->url_of("none.git"), "main"));
  ASSERT_FALSE(nowhere);
  EXPECT_EQ(nowhere.error().code, Errc::not_found) << nowhere.error().message;
}

TEST_P(ForgeContract, HostileNamesAreRefusedAndRunNothing) {
  auto sha = repo.push_file("a", "1");
  auto trap = dir.file("trap");
  for (auto ref : {"--upload-pack=touch " + trap, std::string("-x"), "main\n--exec=touch " + trap, std::string("a..b"), std::string(":main"), std::string("+main:main")})
    EXPECT_EQ(refusal(unknown_sha, ref), Errc::invalid) << ref;
  EXPECT_EQ(resolve("--upload-pack=touch " + trap).error().code, Errc::invalid);
  for (auto bad : {std::string("HEAD"), std::string("--all"), sha.substr(1), sha + "0", sha.substr(1) + "\n", std::string("refs/heads/main"), std::string()})
    EXPECT_EQ(refusal(bad), Errc::invalid) << bad;
  for (auto evil : {"ext::touch " + trap, "--upload-pack=touch " + trap, "-u" + trap, std::string("relative/path")})
    EXPECT_EQ(loop.run(forge->snapshot(evil, sha, "refs/heads/main")).error().code, Errc::invalid) << evil;
  EXPECT_FALSE(std::filesystem::exists(trap));
}

TEST_P(ForgeContract, BranchesMayHaveNamesThatShellsAndPeopleMindButGitDoesNot) {
  for (auto name : {"feature/$(touch${IFS}trap)", "a;b", "b'\"", "\u00fc", "-dash-inside/--x"}) {
    auto ref = "refs/heads/" + std::string(name);
    repo.write(".ci.yaml", name);
    auto sha = repo.commit("x");
    repo.push("HEAD:" + ref);
    EXPECT_EQ(resolve(ref), sha) << ref;
    EXPECT_TRUE(snapshot(sha, ref)) << ref;
  }
}

TEST_P(ForgeContract, BytesThatAreNoUtf8AreReplaced) {
  repo.write("a", "1");
  repo.git("add -A && printf 'caf\\351' | git -c i18n.commitEncoding=none commit -q -F -");
  auto sha = repo.git("rev-parse HEAD");
  repo.push("main");
  EXPECT_THAT(snapshot(sha)->commit.message, testing::StartsWith("caf\ufffd"));
}

TEST_P(ForgeContract, ChangedPathsNamesBothEndsOfARename) {
  repo.write("old/name", std::string(1000, 'x'));
  repo.write("gone", "1");
  repo.write("same", "1");
  auto before = repo.push_file("edited", "1");
  repo.git("mv old/name newer");
  repo.git("rm -q gone");
  repo.write("added/deep/file", "1");
  auto after = repo.push_file("edited", "2");
  EXPECT_THAT(changed(before, after), Optional(ElementsAre("added/deep/file", "edited", "gone", "newer", "old/name")));
  EXPECT_THAT(changed(after, after), Optional(IsEmpty()));
}

TEST_P(ForgeContract, ChangedPathsSeeModesTypesAndSubmodules) {
  repo.write("script", "x");
  repo.write("kind", "x");
  auto before = repo.push_file("same", "1");
  shell(repo.work(), "chmod +x script && rm kind && ln -s same kind");
  repo.git("update-index --add --cacheinfo 160000," + unknown_sha + ",lib");
  repo.git("add script kind && git commit -qm x");
  repo.push("main");
  EXPECT_THAT(changed(before, repo.git("rev-parse HEAD")), Optional(ElementsAre("kind", "lib", "script")));
}

TEST_P(ForgeContract, ChangedPathsOfAnUnknownPastAreUnknown) {
  auto sha = repo.push_file("a", "1");
  EXPECT_EQ(changed(zero_sha, sha), std::nullopt);
  EXPECT_EQ(changed("", sha), std::nullopt);
  EXPECT_EQ(changed(unknown_sha, sha), std::nullopt);
  EXPECT_EQ(loop.run(forge->changed_paths(url, sha, unknown_sha)).error().code, Errc::not_found);
  EXPECT_EQ(loop.run(forge->changed_paths(url, sha, "main")).error().code, Errc::invalid);
}

TEST_P(ForgeContract, HistoriesPartAtTheLastCommitOfBoth) {
  auto older = repo.push_file("a", "1"), common = repo.push_file("a", "2");
  repo.git("checkout -qb side");
  std::string side, main;
  for (auto text : {"1", "2", "3"}) {
    repo.write("side", text);
    side = repo.commit("on the side");
  }
  repo.push("side");
  repo.git("checkout -q main");
  for (auto text : {"1", "2", "3"}) main = repo.push_file("b", text);
  repo.git("checkout -q --orphan alone");
  auto alone = repo.commit("of its own");
  repo.push("alone");
  std::ignore = snapshot(side, "refs/heads/side");   // as a build has it: shallow
  auto merge_base = [&](const std::string& one, const std::string& other) { return loop.run(forge->merge_base(url, one, other)); };
  EXPECT_EQ(merge_base(main, side), common);
  EXPECT_THAT(changed(common, side), Optional(ElementsAre("side")));
  restart();
  EXPECT_EQ(merge_base(side, main), common);
  EXPECT_EQ(merge_base(side, side), side);
  EXPECT_EQ(merge_base(main, alone), std::nullopt);
  EXPECT_EQ(merge_base(main, unknown_sha), std::nullopt);
  if (GetParam().gives_any_commit) EXPECT_EQ(merge_base(older, side), older);
  EXPECT_EQ(loop.run(forge->merge_base(url, main, "side")).error().code, Errc::invalid);
}

TEST_P(ForgeContract, TreeHashesListTheFilesThatMatchInPathOrder) {
  repo.write("src/b.c", "b");
  repo.write("src/deep/a.c", "a");
  repo.write("src/deep/a.h", "h");
  repo.write("src.c", "s");
  repo.git("update-index --add --cacheinfo 160000," + unknown_sha + ",lib/sub");
  repo.git("add src src.c && git commit -qm x");
  repo.push("main");
  auto sha = repo.git("rev-parse HEAD");
  auto hash = [&](const std::string& path) { return path + " " + repo.git("rev-parse HEAD:" + path); };
  auto hashes = [&](std::vector<std::string> globs) { return loop.run(forge->tree_hashes(url, sha, std::move(globs))).value(); };
  EXPECT_THAT(hashes({"**/*.c"}), ElementsAre(hash("src.c"), hash("src/b.c"), hash("src/deep/a.c")));
  EXPECT_THAT(hashes({"src/*", "src.c"}), ElementsAre(hash("src.c"), hash("src/b.c")));
  EXPECT_THAT(hashes({"lib/**"}), ElementsAre("lib/sub " + unknown_sha));
  EXPECT_THAT(hashes({"none"}), IsEmpty());
  EXPECT_EQ(loop.run(forge->tree_hashes(url, unknown_sha, {"**"})).error().code, Errc::not_found);
}

TEST_P(ForgeContract, ACommitOfManyFilesAndALargeOneComesWhole) {
  for (int i = 0; i < 600; ++i) repo.write("many/" + std::to_string(i % 20) + "/" + std::to_string(i), std::to_string(i));
  shell(repo.work(), "head -c 20000000 /dev/urandom > large");
  auto sha = repo.push_file(".ci.yaml", "1");
  auto got = snapshot(sha);
  ASSERT_TRUE(got) << got.error().message;
  auto mirror = loop.run(forge->mirror(url));
  ASSERT_TRUE(mirror) << mirror.error().message;
  EXPECT_EQ(shell(*mirror, "git cat-file blob " + sha + ":large | sha256sum"), shell(repo.work(), "sha256sum < large"));
}

TEST_P(ForgeContract, AMirrorIsARepositoryThatRunnersCanFetchFrom) {
  auto first = repo.push_file("a", "1");
  auto second = repo.push_file("dir/b", "2");
  auto third = repo.push_file("dir/b", "3");
  for (auto& sha : {third, first, second}) ASSERT_TRUE(snapshot(sha));
  auto mirror = loop.run(forge->mirror(url));
  ASSERT_TRUE(mirror) << mirror.error().message;
  shell(*mirror, "git fsck --strict --no-dangling 2>&1");
  auto clone = dir.file("clone");
  shell("/", "git init -q " + clone);
  for (auto& sha : {first, second, third})
    shell(clone, "git fetch -q --depth=1 file://" + *mirror + " " + sha + " && git checkout -q " + sha + " && test $(cat a) = 1 && git fsck --no-dangling 2>&1");
}

TEST_P(ForgeContract, HistoryComesWhenAskedForAndStays) {
  std::vector<std::string> shas;
  for (int i = 0; i < 6; ++i) shas.push_back(repo.push_file(".ci.yaml", std::to_string(i)));
  ASSERT_TRUE(snapshot(shas[2]));
  ASSERT_TRUE(snapshot(shas[5]));
  auto mirror = loop.run(forge->mirror(url)).value();
  auto commits_here = [&] { return std::stoi(shell(mirror, "git rev-list --count " + shas[5])); };
  auto deepen = [&](int depth) { return loop.run(forge->deepen(url, shas[5], "refs/heads/main", depth)); };
  ASSERT_TRUE(deepen(1));
  if (GetParam().gives_any_commit) EXPECT_EQ(commits_here(), 1) << "otherwise the branch was searched";
  ASSERT_TRUE(deepen(3));
  EXPECT_GE(commits_here(), 3);
  auto all = deepen(0);
  ASSERT_TRUE(all) << all.error().message;
  EXPECT_EQ(commits_here(), 6);
  ASSERT_TRUE(deepen(2));
  ASSERT_TRUE(snapshot(shas[4]));
  EXPECT_EQ(commits_here(), 6) << "what was deep stays deep";
  shell(mirror, "git fsck --no-dangling 2>&1");
  EXPECT_EQ(loop.run(forge->deepen(url, unknown_sha, "", 0)).error().code, Errc::not_found);
  EXPECT_EQ(loop.run(forge->deepen(url, shas[5], "", -1)).error().code, Errc::invalid);
}

TEST_P(ForgeContract, AShallowRepositoryIsAsGoodAsAWholeOne) {
  repo.push_file("a", "1");
  auto sha = repo.push_file(".ci.yaml", "shallow");
  shell(dir.path() / "forge", "git clone -q --bare --depth=1 file://" + repo.bare().string() + " shallow.git");
  auto got = loop.run(forge->snapshot(site->url_of("shallow.git"), sha, "refs/heads/main"));
  ASSERT_TRUE(got) << got.error().message;
  EXPECT_EQ(got->pipeline_files[0].content, "shallow");
}

TEST_P(ForgeContract, ManyAskAtOnceAndAllAreAnswered) {
  std::vector<std::string> shas;
  for (int i = 0; i < 8; ++i) shas.push_back(repo.push_file(".ci.yaml", std::to_string(i)));
  std::size_t right = 0;
  auto ask = [&](std::size_t i) -> Task<void> {
    auto got = co_await forge->snapshot(url, shas[i], "refs/heads/main");
    EXPECT_TRUE(got) << got.error().message;
    right += got && got->pipeline_files.size() == 1 && got->pipeline_files[0].content == std::to_string(i);
  };
  auto all = [&]() -> Task<void> {
    Scope scope(loop.loop());
    for (std::size_t i = 0; i < 32; ++i) scope.spawn(ask(i % shas.size()));
    co_await scope.join();
  };
  loop.run(all());
  EXPECT_EQ(right, 32u);
}

}  // namespace mayfly::contract
