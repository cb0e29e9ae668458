#include "runner/sidecar/collect.h"

#include <gmock/gmock.h>

#include <fstream>

#include "domain/pipeline/glob.h"
#include "support/temp_dir.h"

namespace mayfly {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::IsEmpty;

class CollectTest : public testing::Test {
 protected:
  CollectTest() {
    for (auto path : {"app.tgz", "build/a.o", "build/sub/b.o", "build/sub/c.txt", "docs/x.md", ".git/config", "node/.git/keep"}) {
      fs::create_directories((directory_.path() / path).parent_path());
      std::ofstream(directory_.path() / path) << "x";
    }
  }
  /// The files among what the globs collect.
  std::vector<std::string> files(const std::vector<std::string>& globs) {
    auto got = collect(*Tree::open(directory_.path()), globs);
    if (!got) return {"error: " + got.error().message};
    unmatched_ = got->unmatched;
    std::vector<std::string> out;
    for (auto& e : got->entries)
      if (!S_ISDIR(e.info.st_mode)) out.push_back(e.path);
    return out;
  }

  TempDir directory_;
  std::vector<std::string> unmatched_;
};

TEST_F(CollectTest, TakesFilesByName) { EXPECT_THAT(files({"app.tgz", "./build/a.o"}), ElementsAre("app.tgz", "build/a.o")); }

TEST_F(CollectTest, TakesEverythingBelowADirectory) {
  EXPECT_THAT(files({"build"}), ElementsAre("build/a.o", "build/sub/b.o", "build/sub/c.txt"));
  EXPECT_THAT(files({"build/"}), ElementsAre("build/a.o", "build/sub/b.o", "build/sub/c.txt"));
  EXPECT_THAT(files({"b*d"}), ElementsAre("build/a.o", "build/sub/b.o", "build/sub/c.txt"));
}

TEST_F(CollectTest, KnowsTheWildcards) {
  EXPECT_THAT(files({"**/*.o"}), ElementsAre("build/a.o", "build/sub/b.o"));
  EXPECT_THAT(files({"build/*.o"}), ElementsAre("build/a.o"));
  EXPECT_THAT(files({"build/?.o"}), ElementsAre("build/a.o"));
  EXPECT_THAT(files({"*.tgz"}), ElementsAre("app.tgz"));
}

TEST_F(CollectTest, TakesAwayWhatFollowsAMark) {
  EXPECT_THAT(files({"build/**", "!**/*.o", "build/a.o"}), ElementsAre("build/a.o", "build/sub/c.txt"));
  EXPECT_THAT(files({"build", "!build/sub"}), ElementsAre("build/a.o"));
  EXPECT_THAT(files({"!build"}), IsEmpty());
}

TEST_F(CollectTest, LeavesTheRepositoryOutUnlessItIsNamed) {
  EXPECT_THAT(files({"."}), ElementsAre("app.tgz", "build/a.o", "build/sub/b.o", "build/sub/c.txt", "docs/x.md", "node/.git/keep"));
  EXPECT_THAT(files({"**"}), ElementsAre("app.tgz", "build/a.o", "build/sub/b.o", "build/sub/c.txt", "docs/x.md", "node/.git/keep"));
  EXPECT_THAT(files({".git/config"}), ElementsAre(".git/config"));
}

TEST_F(CollectTest, NamesWhatMatchesNothing) {
  files({"app.tgz", "missing", "*.zip", "app.*", "!nothing"});
  EXPECT_THAT(unmatched_, ElementsAre("missing", "*.zip"));
}

TEST_F(CollectTest, RefusesWhatLeadsOutsideOrIsTooLong) {
  EXPECT_THAT(files({"../x"}), ElementsAre("error: the path '../x' is not one inside the workspace"));
  EXPECT_THAT(files({"/etc/passwd"}), ElementsAre("error: the path '/etc/passwd' is not one inside the workspace"));
  EXPECT_THAT(files({std::string(max_glob_bytes, 'a')}), IsEmpty()) << "at the limit";
  EXPECT_THAT(files({std::string(max_glob_bytes + 1, 'a')})[0], testing::StartsWith("error: "));
}

TEST_F(CollectTest, DoesNotGoThroughLinks) {
  fs::create_directory_symlink("build", directory_.path() / "link");
  fs::create_directory_symlink("/etc", directory_.path() / "etc");
  EXPECT_THAT(files({"link/**", "etc/**"}), IsEmpty());
  EXPECT_THAT(files({"link"}), ElementsAre("link")) << "the link itself";
}

}  // namespace
}  // namespace mayfly
