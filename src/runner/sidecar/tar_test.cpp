#include "runner/sidecar/tar.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <fstream>

#include "runner/sidecar/collect.h"
#include "support/temp_dir.h"

namespace mayfly {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::string text(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

class TarTest : public testing::Test {
 protected:
  TarTest() : fd_(::memfd_create("tar", MFD_CLOEXEC)) {
    fs::create_directories(from());
    fs::create_directories(to());
  }
  fs::path from() const { return directory_.path() / "from"; }
  fs::path to() const { return directory_.path() / "to"; }

  std::vector<std::string> pack_all() {
    auto tree = *Tree::open(from());
    auto found = *collect(tree, {"**"});
    std::vector<std::string> left_out;
    auto packed = pack(tree, found.entries, fd_.get(), left_out);
    EXPECT_TRUE(packed) << packed.error().message;
    return left_out;
  }
  Result<void> unpack_here() {
    ::lseek(fd_.get(), 0, SEEK_SET);
    return unpack(fd_.get(), *Tree::open(to()));
  }
  /// An archive as GNU tar makes it, which can hold what ours never would.
  Result<void> unpack_made_by(const std::string& script) {
    auto command = "cd " + directory_.path().string() + " && " + script;
    EXPECT_EQ(::system(command.c_str()), 0);
    UniqueFd fd(::open((directory_.path() / "t.tar").c_str(), O_RDONLY | O_CLOEXEC));
    return unpack(fd.get(), *Tree::open(to()));
  }

  TempDir directory_;
  UniqueFd fd_;
};

TEST_F(TarTest, CarriesFilesDirectoriesAndLinks) {
  std::string long_name(120, 'n'), binary("a\0b\xFF", 4);
  fs::create_directories(from() / "d/empty");
  fs::create_directories(from() / long_name);
  std::ofstream(from() / "d/run") << "#!/bin/sh\n";
  fs::permissions(from() / "d/run", fs::perms(0755));
  std::ofstream(from() / long_name / long_name, std::ios::binary) << binary << std::string(1000, 'x');
  std::ofstream(from() / "empty");
  fs::create_symlink("d/run", from() / "link");
  fs::create_symlink("./" + std::string(150, '/') + "d/run", from() / "long-link");
  EXPECT_THAT(pack_all(), IsEmpty());
  auto done = unpack_here();
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_TRUE(fs::is_directory(to() / "d/empty"));
  EXPECT_EQ(text(to() / "d/run"), "#!/bin/sh\n");
  EXPECT_EQ(fs::status(to() / "d/run").permissions(), fs::perms(0755));
  EXPECT_EQ(text(to() / long_name / long_name), binary + std::string(1000, 'x'));
  EXPECT_EQ(text(to() / "empty"), "");
  EXPECT_EQ(fs::read_symlink(to() / "link"), "d/run");
  EXPECT_EQ(fs::read_symlink(to() / "long-link").string().size(), 157u);
  EXPECT_EQ(::system(("cmp -s " + (from() / "d/run").string() + " " + (to() / "d/run").string()).c_str()), 0);
}

TEST_F(TarTest, IsATarThatOthersRead) {
  std::ofstream(from() / std::string(130, 'q')) << "content";
  pack_all();
  std::ofstream out(directory_.path() / "ours.tar", std::ios::binary);
  std::string bytes(static_cast<std::size_t>(::lseek(fd_.get(), 0, SEEK_END)), '\0');
  ASSERT_EQ(::pread(fd_.get(), bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
  out << bytes;
  out.close();
  EXPECT_EQ(::system(("cd " + directory_.path().string() + " && [ \"$(tar xOf ours.tar)\" = content ]").c_str()), 0);
}

TEST_F(TarTest, AnEmptyOneIsFine) {
  EXPECT_THAT(pack_all(), IsEmpty());
  EXPECT_TRUE(unpack_here());
}

TEST_F(TarTest, LeavesOutWhatIsNoFileInside) {
  fs::create_symlink("/etc/passwd", from() / "absolute");
  fs::create_symlink("../../x", from() / "up");
  ASSERT_EQ(::mkfifo((from() / "fifo").c_str(), 0600), 0);
  EXPECT_THAT(pack_all(), ElementsAre("absolute", "fifo", "up"));
}

TEST_F(TarTest, ReplacesWhatIsThere) {
  std::ofstream(from() / "f") << "new";
  std::ofstream(to() / "f") << "old and longer";
  pack_all();
  ASSERT_TRUE(unpack_here());
  EXPECT_EQ(text(to() / "f"), "new");
}

TEST_F(TarTest, NamesThatLeadOutsideAreRefused) {
  std::ofstream(directory_.path() / "victim") << "untouched";
  auto up = unpack_made_by("echo bad > x && tar cf t.tar --transform 's|x|../victim|' -P x");
  ASSERT_FALSE(up);
  EXPECT_EQ(up.error().code, Errc::forbidden);
  auto absolute = unpack_made_by("tar cf t.tar -P " + (directory_.path() / "x").string());
  ASSERT_FALSE(absolute);
  EXPECT_EQ(absolute.error().code, Errc::forbidden);
  EXPECT_EQ(text(directory_.path() / "victim"), "untouched");
}

TEST_F(TarTest, ALinkIsNoWayOutside) {
  std::ofstream(directory_.path() / "victim") << "untouched";
  auto link = unpack_made_by("ln -s .. out && tar cf t.tar out");
  ASSERT_FALSE(link);
  EXPECT_THAT(link.error().message, HasSubstr("leads out of the workspace"));
  // One that is there already, from the repository itself, is no way either.
  fs::create_directory_symlink("..", to() / "out2");
  auto through = unpack_made_by("mkdir out2 && echo bad > out2/victim && tar cf t.tar out2/victim");
  ASSERT_FALSE(through);
  EXPECT_EQ(through.error().code, Errc::forbidden);
  EXPECT_EQ(text(directory_.path() / "victim"), "untouched");
}

TEST_F(TarTest, HardLinksAndDevicesAreRefused) {
  auto hard = unpack_made_by("echo a > one && ln one two && tar cf t.tar one two");
  ASSERT_FALSE(hard);
  EXPECT_THAT(hard.error().message, HasSubstr("a hard link: 'two'"));
  auto fifo = unpack_made_by("mkfifo pipe && tar cf t.tar pipe");
  ASSERT_FALSE(fifo);
  EXPECT_THAT(fifo.error().message, HasSubstr("neither file, directory nor link: 'pipe'"));
}

TEST_F(TarTest, SetUidDoesNotTravel) {
  ASSERT_TRUE(unpack_made_by("echo a > suid && chmod 4755 suid && tar cf t.tar suid"));
  EXPECT_EQ(fs::status(to() / "suid").permissions(), fs::perms(0755));
}

TEST_F(TarTest, NoTarIsAnError) {
  std::string noise(4096, 'x');
  ASSERT_EQ(::write(fd_.get(), noise.data(), noise.size()), 4096);
  auto got = unpack_here();
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, Errc::corrupt);
}

}  // namespace
}  // namespace mayfly
