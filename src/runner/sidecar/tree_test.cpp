#include "runner/sidecar/tree.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <fstream>

#include "support/temp_dir.h"

namespace mayfly {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;

class TreeTest : public testing::Test {
 protected:
  TreeTest() { fs::create_directories(root()); std::ofstream(directory_.path() / "secret") << "outside"; }
  fs::path root() const { return directory_.path() / "root"; }
  Tree tree() const { return *Tree::open(root()); }
  static std::string text(const fs::path& path) {
    std::ifstream in(path);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  static Errc code(const auto& result) { return result ? Errc{-1} : result.error().code; }

  TempDir directory_;
};

TEST(CleanPath, IsRelativeAndHasNoDots) {
  EXPECT_EQ(*clean_path("a/./b//c/"), "a/b/c");
  EXPECT_EQ(*clean_path("."), ".");
  EXPECT_EQ(*clean_path("./a"), "a");
  EXPECT_EQ(*clean_path("a..b/..c"), "a..b/..c");
  for (auto bad : {"", "/etc", "..", "a/../../b", "a/..", "../a"}) EXPECT_FALSE(clean_path(bad)) << bad;
  EXPECT_FALSE(clean_path(std::string_view("a\0b", 3)));
  EXPECT_FALSE(clean_path(std::string(5000, 'a')));
}

TEST(LinkStaysInside, GoesByItsText) {
  EXPECT_TRUE(link_stays_inside("link", "file"));
  EXPECT_TRUE(link_stays_inside("a/b/link", "../../file"));
  EXPECT_TRUE(link_stays_inside("a/link", "./x/../y"));
  EXPECT_FALSE(link_stays_inside("link", "../file"));
  EXPECT_FALSE(link_stays_inside("a/link", "../../file"));
  EXPECT_FALSE(link_stays_inside("a/link", "x/../../../file"));
  EXPECT_FALSE(link_stays_inside("link", "/etc/passwd"));
  EXPECT_FALSE(link_stays_inside("link", ""));
}

TEST_F(TreeTest, OpensFilesThroughLinksThatStayInsideAndNoOthers) {
  std::ofstream(root() / "file") << "inside";
  fs::create_symlink("file", root() / "good");
  fs::create_symlink("../secret", root() / "up");
  fs::create_symlink(directory_.path() / "secret", root() / "absolute");
  fs::create_symlink("/proc/self/environ", root() / "proc");
  fs::create_symlink("loop", root() / "loop");
  ASSERT_EQ(::mkfifo((root() / "fifo").c_str(), 0600), 0);
  EXPECT_TRUE(tree().open_file("file"));
  EXPECT_TRUE(tree().open_file("good"));
  EXPECT_EQ(code(tree().open_file("up")), Errc::forbidden);
  EXPECT_EQ(code(tree().open_file("absolute")), Errc::forbidden);
  EXPECT_EQ(code(tree().open_file("proc")), Errc::forbidden);
  EXPECT_EQ(code(tree().open_file("loop")), Errc::forbidden);
  EXPECT_EQ(code(tree().open_file("../secret")), Errc::forbidden);
  EXPECT_EQ(code(tree().open_file("fifo")), Errc::forbidden) << "and it does not wait for a writer";
  EXPECT_EQ(code(tree().open_file("none")), Errc::not_found);
}

TEST_F(TreeTest, CreatesFilesWithTheirDirectoriesButNotThroughLinks) {
  auto file = tree().create_file("a/b/file", 04755);
  ASSERT_TRUE(file) << file.error().message;
  ASSERT_EQ(::write(file->get(), "x", 1), 1);
  EXPECT_EQ(text(root() / "a/b/file"), "x");
  EXPECT_EQ(fs::status(root() / "a/b/file").permissions(), fs::perms(0755)) << "without the set-uid bit";
  fs::create_directory_symlink(directory_.path(), root() / "out");
  EXPECT_EQ(code(tree().create_file("out/secret", 0644)), Errc::forbidden);
  EXPECT_EQ(code(tree().create_file("out/new/secret", 0644)), Errc::forbidden);
  EXPECT_EQ(text(directory_.path() / "secret"), "outside");
}

TEST_F(TreeTest, ReplacesALinkInsteadOfWritingThroughIt) {
  fs::create_symlink("../secret", root() / "file");
  ASSERT_TRUE(tree().create_file("file", 0644));
  EXPECT_FALSE(fs::is_symlink(root() / "file"));
  EXPECT_EQ(text(directory_.path() / "secret"), "outside");
}

TEST_F(TreeTest, MakesOnlyLinksThatStayInside) {
  EXPECT_TRUE(tree().make_link("a/link", "../file"));
  EXPECT_EQ(fs::read_symlink(root() / "a/link"), "../file");
  EXPECT_EQ(*tree().read_link("a/link"), "../file");
  EXPECT_EQ(code(tree().make_link("a/bad", "../../secret")), Errc::forbidden);
}

TEST_F(TreeTest, WalksInOrderAndNotThroughLinks) {
  fs::create_directories(root() / "b/c");
  std::ofstream(root() / "b/c/f");
  std::ofstream(root() / "a");
  fs::create_directory_symlink("..", root() / "b/up");
  std::vector<std::string> seen;
  auto note = [&](const TreeEntry& e) { return seen.push_back(e.path), e.path != "b/none"; };
  ASSERT_TRUE(tree().walk(".", note));
  EXPECT_THAT(seen, ElementsAre(".", "a", "b", "b/c", "b/c/f", "b/up"));
  seen.clear();
  ASSERT_TRUE(tree().walk("b/c", note));
  EXPECT_THAT(seen, ElementsAre("b/c", "b/c/f"));
  seen.clear();
  ASSERT_TRUE(tree().walk("nothing/here", note));
  ASSERT_TRUE(tree().walk("b/up/b", note)) << "below a link is nothing";
  EXPECT_THAT(seen, ElementsAre());
}

TEST_F(TreeTest, EndsAtItsDepth) {
  auto path = root();
  for (std::size_t i = 0; i < max_tree_depth_walked; ++i) path /= "d";
  fs::create_directories(path);
  auto anything = [](const TreeEntry&) { return true; };
  EXPECT_TRUE(tree().walk(".", anything)) << "at the limit";
  fs::create_directories(path / "d");
  EXPECT_EQ(code(tree().walk(".", anything)), Errc::too_large);
}

TEST_F(TreeTest, GivesEverythingAwayButNothingOutside) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can give files away";
  fs::create_directories(root() / "a");
  std::ofstream(root() / "a/f");
  fs::create_symlink("../../secret", root() / "a/link");
  ASSERT_TRUE(tree().give_to(1234, 1235));
  struct stat info;
  for (auto path : {root(), root() / "a", root() / "a/f", root() / "a/link"}) {
    ASSERT_EQ(::lstat(path.c_str(), &info), 0);
    EXPECT_EQ(info.st_uid, 1234u) << path;
    EXPECT_EQ(info.st_gid, 1235u) << path;
  }
  ASSERT_EQ(::stat((directory_.path() / "secret").c_str(), &info), 0);
  EXPECT_EQ(info.st_uid, 0u);
}

}  // namespace
}  // namespace mayfly
