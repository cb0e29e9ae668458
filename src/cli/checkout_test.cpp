#include "cli/checkout.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "cli/test_world.h"
#include "support/temp_dir.h"

namespace mayfly::cli {
namespace {

constexpr auto pipeline = R"(version: 1
on:
  push: {branches: [main]}
  pull_request: {}
jobs:
  lint:
    run: make lint
  test:
    needs: [lint]
    matrix: {db: [a, b]}
    run: ./test ${{ matrix.db }}
  deploy:
    needs: [test]
    if: event == 'push'
    run: ./deploy
)";

class AWorkingTree : public testing::Test {
 protected:
  AWorkingTree() {
    world.directory = dir.path().string();
    write(".ci.yaml", pipeline);
  }
  void write(const std::string& name, const std::string& text) {
    std::filesystem::create_directories((dir.path() / name).parent_path());
    std::ofstream(dir.file(name)) << text;
  }
  /// Runs a shell command in the tree and gives back what it printed.
  std::string shell(const std::string& command) {
    auto full = "cd '" + dir.path().string() + "' && { " + command + "; } 2>&1";
    std::string out;
    auto* pipe = ::popen(full.c_str(), "r");
    char buffer[4096];
    while (auto n = ::fread(buffer, 1, sizeof buffer, pipe)) out.append(buffer, n);
    EXPECT_EQ(::pclose(pipe), 0) << out;
    return out;
  }
  void make_repository() {
    shell("git init -q -b main && git config user.name T && git config user.email t@example.org && git add -A && git commit -qm one");
  }

  TempDir dir;
  TestWorld world;
};

TEST_F(AWorkingTree, ItsPipelineIsLinted) {
  EXPECT_EQ(world.run({"lint"}), done) << world.out();
  EXPECT_EQ(world.out(), ".ci.yaml: no problems\n");
  write(".ci.yaml", "version: 1\njobs:\n  a:\n    runn: x\n  b:\n    needs: [c]\n    run: y\n");
  EXPECT_EQ(world.run({"lint"}), said_no);
  EXPECT_TRUE(world.out().find(".ci.yaml:4:5: ") != std::string::npos) << world.out();
  EXPECT_TRUE(world.out().find(".ci.yaml:6:") != std::string::npos) << "all problems at once: " << world.out();
  EXPECT_EQ(world.run({"lint", "--json"}), said_no);
  EXPECT_EQ(find_int(find(parse_json(world.out()).value(), "problems")->as_array().at(0), "line"), 4);
}

TEST_F(AWorkingTree, FilesAreLintedByName) {
  write("other.yaml", "version: 1\njobs: {a: {run: x}}\n");
  EXPECT_EQ(world.run({"lint", "other.yaml"}), done) << world.out();
  EXPECT_EQ(world.run({"lint", "absent.yaml"}), used_wrongly);
  EXPECT_TRUE(world.err().find("absent.yaml") != std::string::npos);
}

TEST_F(AWorkingTree, WithoutAPipelineSaysHowToBegin) {
  std::filesystem::remove(dir.file(".ci.yaml"));
  EXPECT_EQ(world.run({"lint"}), used_wrongly);
  EXPECT_TRUE(world.err().find("neither .ci.yaml nor .ci/*.yaml") != std::string::npos) << world.err();
}

TEST_F(AWorkingTree, APlanSaysWhatWouldRunAndWhy) {
  make_repository();
  EXPECT_EQ(world.run({"plan"}), done) << world.out();
  EXPECT_EQ(world.out(), R"(push of main: 4 jobs would run
  ● lint      1 step
  ● test (a)  1 step  needs lint
  ● test (b)  1 step  needs lint
  ● deploy    1 step  needs test (all 2)
)");
  EXPECT_EQ(world.run({"plan", "--event", "pull_request", "--base-ref", "main"}), done);
  EXPECT_TRUE(world.out().find("– deploy    1 step  needs test (all 2), its `if` is false") != std::string::npos) << world.out();
  EXPECT_EQ(world.run({"plan", "--ref", "feature", "--json"}), done);
  EXPECT_TRUE(find_string(parse_json(world.out()).value(), "no_build")) << world.out();
}

TEST_F(AWorkingTree, HashesOfFilesAreThoseOnDisk) {
  write(".ci.yaml", "version: 1\njobs:\n  a:\n    env: {KEY: \"k-${{ hash_files('lock') }}\"}\n    run: x\n");
  write("lock", "one");
  make_repository();
  auto key = [&] {
    EXPECT_EQ(world.run({"plan", "--json"}), done) << world.out() << world.err();
    return find_string(find(parse_json(world.out()).value(), "jobs")->as_array().at(0), "spec.env.KEY").value_or("");
  };
  auto before = key();
  EXPECT_TRUE(before.starts_with("k-") && before.size() > 10) << before;
  write("lock", "two");
  EXPECT_NE(key(), before);
  write("lock", "one");
  EXPECT_EQ(key(), before);
}

TEST_F(AWorkingTree, ASnapshotHoldsWhatIsOnDiskAndLeavesNoTrace) {
  write(".gitignore", "ignored\n");
  write("changed", "old");
  write("gone", "x");
  make_repository();
  write("changed", "new");
  write("staged", "s");
  shell("git add staged");
  write("fresh", "f");
  write("ignored", "i");
  std::filesystem::remove(dir.file("gone"));
  auto state = "git status --porcelain; git for-each-ref; git count-objects; git stash list";
  auto before = shell(state);

  TempDir scratch;
  auto checkout = Checkout::open(dir.path().string());
  ASSERT_TRUE(checkout);
  EXPECT_EQ(checkout->ref(), "refs/heads/main");
  auto sha = checkout->snapshot(scratch.file("source.git"), "refs/heads/main");
  ASSERT_TRUE(sha) << sha.error().message;
  EXPECT_EQ(shell(state), before);
  auto bare = "git --git-dir='" + scratch.file("source.git") + "' ";
  EXPECT_EQ(shell(bare + "ls-tree -r --name-only refs/heads/main"), ".ci.yaml\n.gitignore\nchanged\nfresh\nstaged\n");
  EXPECT_EQ(shell(bare + "show main:changed"), "new");
  EXPECT_EQ(shell(bare + "rev-parse main^"), checkout->head() + "\n");
}

std::string read(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST_F(AWorkingTree, PipelinesInTheDocumentationAreRight) {
  for (std::string name : {"/README.md", "/docs/pipeline.md"}) {
    auto text = read(MAYFLY_SOURCE_DIR + name);
    auto begin = text.find("```yaml\n");
    ASSERT_NE(begin, std::string::npos) << name;
    begin += 8;
    write(".ci.yaml", text.substr(begin, text.find("```", begin) - begin));
    EXPECT_EQ(world.run({"lint"}), done) << name << ": " << world.out();
  }
  world.directory = std::string(MAYFLY_SOURCE_DIR) + "/examples/hello";
  EXPECT_EQ(world.run({"lint", ".ci.yaml"}), done) << world.out();
}

TEST_F(AWorkingTree, APlainDirectoryHasASnapshotToo) {
  TempDir scratch;
  auto checkout = Checkout::open(dir.path().string());
  ASSERT_TRUE(checkout);
  EXPECT_FALSE(checkout->is_repository());
  auto sha = checkout->snapshot(scratch.file("source.git"), "refs/heads/main");
  ASSERT_TRUE(sha) << sha.error().message;
  EXPECT_EQ(shell("git --git-dir='" + scratch.file("source.git") + "' ls-tree -r --name-only main"), ".ci.yaml\n");
}

}  // namespace
}  // namespace mayfly::cli
