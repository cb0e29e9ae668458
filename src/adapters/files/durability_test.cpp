// The order in which a blob reaches the disk: its bytes before its name, its name before the answer.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <mutex>

#include "adapters/files/blobs.h"
#include "support/run.h"
#include "support/temp_dir.h"

namespace {

/// The calls made since the test began, and the one that is to fail.
struct Calls {
  std::mutex mutex;
  std::vector<std::string> made;
  std::string failing;

  bool note(const std::string& name) {
    std::lock_guard lock(mutex);
    made.push_back(name);
    errno = EIO;
    return name != failing;
  }
} calls;

}  // namespace

extern "C" {
int __real_fsync(int fd);
int __real_fdatasync(int fd);
int __real_link(const char* from, const char* to);
int __wrap_fsync(int fd) { return calls.note("fsync") ? __real_fsync(fd) : -1; }
int __wrap_fdatasync(int fd) { return calls.note("fdatasync") ? __real_fdatasync(fd) : -1; }
int __wrap_link(const char* from, const char* to) { return calls.note("link") ? __real_link(from, to) : -1; }
}

namespace mayfly {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

struct Durability : testing::Test {
  void SetUp() override {
    open({});
    EXPECT_TRUE(put("folder/first"));
    forget();
  }
  void TearDown() override { forget(); }
  void forget() {
    calls.made.clear();
    calls.failing.clear();
  }
  void open(FileBlobsOptions options) { blobs = open_file_blobs(dir.file("store"), *pool, options).value(); }
  Result<BlobInfo> put(std::string_view key) { return run(blobs->put(key, "bytes")); }
  bool has(std::string_view key) { return run(blobs->head(key)).value().has_value(); }

  TempDir dir;
  std::unique_ptr<Offload> pool = make_inline_offload();
  std::unique_ptr<Blobs> blobs;
};

TEST_F(Durability, BytesThenNameThenFolder) {
  ASSERT_TRUE(put("folder/second"));
  EXPECT_THAT(calls.made, ElementsAre("fdatasync", "link", "fsync"));
}

TEST_F(Durability, ANewFolderIsSyncedIntoItsParentFirst) {
  ASSERT_TRUE(put("a/b/k"));
  EXPECT_THAT(calls.made, ElementsAre("fdatasync", "link", "fsync", "fsync", "link", "fsync"));
}

TEST_F(Durability, WhoComesSecondWaitsForTheFolderToo) {
  ASSERT_TRUE(put("folder/first"));
  EXPECT_THAT(calls.made, ElementsAre("fdatasync", "link", "fsync"));
}

TEST_F(Durability, BytesThatDoNotReachTheDiskGetNoName) {
  calls.failing = "fdatasync";
  auto failed = put("folder/second");
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, Errc::unavailable);
  EXPECT_FALSE(has("folder/second"));
}

TEST_F(Durability, AFolderThatDoesNotReachTheDiskIsNoSuccess) {
  calls.failing = "fsync";
  auto failed = put("folder/second");
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, Errc::unavailable);
  forget();
  EXPECT_TRUE(put("folder/second")) << "trying again is all that is needed";
}

TEST_F(Durability, WithoutFsyncNothingIsSynced) {
  open({.fsync = false});
  ASSERT_TRUE(put("folder/second"));
  EXPECT_THAT(calls.made, ElementsAre("link"));
}

}  // namespace
}  // namespace mayfly
