// What only the folder has: files, damage, full disks. The port's own law is in tests/contract.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "adapters/files/blobs.h"
#include "adapters/files/tree.h"
#include "support/crash.h"
#include "support/run.h"
#include "support/temp_dir.h"

namespace mayfly {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::IsEmpty;

struct Files : testing::Test {
  void SetUp() override { open(); }
  void open(FileBlobsOptions options = {}) {
    auto opened = open_file_blobs(folder, *pool, options);
    ASSERT_TRUE(opened) << opened.error().message;
    blobs = std::move(*opened);
  }
  Result<BlobInfo> put(std::string_view key, std::string_view bytes) { return run(blobs->put(key, bytes)); }
  Errc get_error(std::string_view key) {
    auto got = run(blobs->get(key));
    EXPECT_FALSE(got);
    return got ? Errc::internal : got.error().code;
  }
  std::string path(std::string_view key) { return folder + "/blobs/" + files::path_of(key); }
  std::size_t file_count() {
    std::size_t files = 0;
    for (auto& entry : fs::recursive_directory_iterator(folder)) files += entry.is_regular_file();
    return files;
  }

  TempDir dir;
  std::string folder = dir.file("data/store");
  std::unique_ptr<Offload> pool = make_inline_offload();
  std::unique_ptr<Blobs> blobs;
};

TEST(FilesTree, SpreadsLongNamesAndMarksBlobs) {
  EXPECT_EQ(files::path_of("k"), "=k");
  EXPECT_EQ(files::path_of("logs/1/0"), "logs/1/=0");
  std::string digest(64, 'a');
  EXPECT_EQ(files::path_of("artifacts/" + digest), "artifacts/aa+/=" + digest);
  EXPECT_EQ(files::path_of("logs/0193a2f4-5b6c-7d8e-9fa0-b1c2d3e4f5a6/0"),
            "logs/a6+/0193a2f4-5b6c-7d8e-9fa0-b1c2d3e4f5a6/=0");
}

TEST_F(Files, ABlobIsItsBytesThenATrailer) {
  ASSERT_TRUE(put("k", "hello"));
  std::ifstream in(path("k"), std::ios::binary);
  std::string bytes(std::istreambuf_iterator<char>(in), {});
  ASSERT_EQ(bytes.size(), 5u + 48u);
  EXPECT_EQ(bytes.substr(0, 13), "hellomayfly1\n");
  auto digest = sha256("hello");
  EXPECT_EQ(bytes.substr(21), std::string(digest.begin(), digest.end()));
}

TEST_F(Files, ACopyMadeWithAnyToolKeepsItsProof) {
  ASSERT_TRUE(put("a/k", "hello"));
  auto elsewhere = dir.file("copy");
  fs::create_directories(elsewhere);
  fs::copy(folder, elsewhere, fs::copy_options::recursive);
  auto copy = open_file_blobs(elsewhere, *pool).value();
  EXPECT_EQ(run(copy->get("a/k")).value(), "hello");
}

TEST_F(Files, AreForTheirOwnerOnly) {
  ASSERT_TRUE(put("a/k", "hello"));
  for (auto& entry : fs::recursive_directory_iterator(folder)) {
    struct stat st;
    ASSERT_EQ(stat(entry.path().c_str(), &st), 0);
    EXPECT_EQ(st.st_mode & 077, 0u) << entry.path();
  }
}

TEST_F(Files, ATruncatedOrForeignFileIsCorrupt) {
  ASSERT_TRUE(put("k", "hello world"));
  for (std::uintmax_t size : {58, 48, 47, 10, 0}) {
    fs::resize_file(path("k"), size);
    EXPECT_EQ(get_error("k"), Errc::corrupt) << size;
    auto head = run(blobs->head("k"));
    ASSERT_FALSE(head);
    EXPECT_EQ(head.error().code, Errc::corrupt);
    auto range = run(blobs->get_range("k", 0, 1));
    ASSERT_FALSE(range);
    EXPECT_EQ(range.error().code, Errc::corrupt);
  }
  fs::resize_file(path("k"), 10'000);
  EXPECT_EQ(get_error("k"), Errc::corrupt) << "bytes were added";
}

TEST_F(Files, ADamagedBlobDoesNotHideTheOthersFromAListing) {
  for (auto* key : {"a", "b", "c"}) ASSERT_TRUE(put(key, "hello"));
  fs::resize_file(path("b"), 3);
  auto found = run(blobs->list("", "", 10));
  ASSERT_TRUE(found) << found.error().message;
  ASSERT_EQ(found->size(), 3u);
  EXPECT_EQ((*found)[1].key, "b");
  EXPECT_EQ((*found)[1].sha256, Sha256{});
  ASSERT_TRUE(run(blobs->remove("b")));
  ASSERT_TRUE(put("b", "again"));
  EXPECT_EQ(run(blobs->get("b")).value(), "again");
}

TEST_F(Files, ALinkIsNotFollowed) {
  std::ofstream(dir.file("secret")) << "secret";
  fs::create_symlink(dir.file("secret"), path("k"));
  EXPECT_EQ(get_error("k"), Errc::unavailable);
}

TEST_F(Files, FoldersGoWithTheirLastBlob) {
  ASSERT_TRUE(put("logs/0193a2f4-5b6c-7d8e-9fa0-b1c2d3e4f5a6/0", "x"));
  ASSERT_TRUE(put("logs/0193a2f4-5b6c-7d8e-9fa0-b1c2d3e4f5a6/1", "x"));
  ASSERT_TRUE(run(blobs->remove("logs/0193a2f4-5b6c-7d8e-9fa0-b1c2d3e4f5a6/0")));
  EXPECT_TRUE(fs::exists(path("logs/0193a2f4-5b6c-7d8e-9fa0-b1c2d3e4f5a6/1")));
  ASSERT_TRUE(run(blobs->remove("logs/0193a2f4-5b6c-7d8e-9fa0-b1c2d3e4f5a6/1")));
  EXPECT_TRUE(fs::is_empty(folder + "/blobs"));
}

TEST_F(Files, WhatACrashLeftIsClearedAtTheNextStart) {
  std::ofstream(folder + "/tmp/17") << "half";
  open();
  EXPECT_EQ(file_count(), 0u);
}

TEST_F(Files, AnAbandonedOrFailedStreamLeavesNoFile) {
  auto story = [&]() -> Task<void> {
    auto writer = (co_await blobs->create("k")).value();
    EXPECT_TRUE(co_await writer->write(std::string(1'000'000, 'x')));
    EXPECT_EQ(file_count(), 1u) << "the test looks where the file is";
  };
  run(story());
  EXPECT_EQ(file_count(), 0u);
}

TEST_F(Files, ABlobAtTheLimitFitsAndOneByteMoreDoesNot) {
  open({.max_blob_bytes = 10});
  EXPECT_TRUE(put("fits", "0123456789"));
  auto refused = put("k", "0123456789+");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::too_large);
  auto story = [&](std::string last) -> Task<Result<BlobInfo>> {
    auto writer = (co_await blobs->create("streamed")).value();
    EXPECT_TRUE(co_await writer->write("012345678"));
    auto written = co_await writer->write(last);
    auto finished = co_await writer->finish();
    EXPECT_EQ(written.has_value(), finished.has_value()) << "after an error there is nothing to finish";
    co_return finished;
  };
  refused = run(story("9+"));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::too_large);
  EXPECT_TRUE(run(story("9")));
  EXPECT_EQ(run(blobs->get("streamed")).value(), "0123456789");
}

TEST_F(Files, AWriterIsFinishedOnce) {
  auto story = [&]() -> Task<void> {
    auto writer = (co_await blobs->create("k")).value();
    EXPECT_TRUE(co_await writer->finish());
    EXPECT_FALSE(co_await writer->finish());
    EXPECT_FALSE(co_await writer->write("more"));
  };
  run(story());
  EXPECT_EQ(run(blobs->get("k")).value(), "");
}

TEST_F(Files, AFullDiskIsUnavailableAndTheRestStays) {
  EXPECT_TRUE(passes_on_small_disk(1 << 20, folder, [&] {
    open();
    EXPECT_TRUE(put("kept", "hello"));
    auto full = put("k", std::string(2 << 20, 'x'));
    EXPECT_TRUE(!full && full.error().code == Errc::unavailable && !full.error().hint.empty());
    EXPECT_EQ(run(blobs->get("kept")).value(), "hello");
    EXPECT_EQ(file_count(), 1u) << "nothing of the failed one is left";
    EXPECT_TRUE(put("k", std::string(500'000, 'x')));
    return !HasFailure();
  }));
}

TEST_F(Files, AFolderOfAnotherUserIsUnavailable) {
  fs::permissions(dir.path(), fs::perms{0755});
  auto mine = dir.file("mine");
  fs::create_directory(mine);
  EXPECT_TRUE(passes_unprivileged([&] {
    auto opened = open_file_blobs(geteuid() == 65534 ? mine : "/root/store", *pool);
    return !opened && opened.error().code == Errc::unavailable && !opened.error().hint.empty();
  }));
}

TEST_F(Files, NothingIsSigned) {
  EXPECT_FALSE(blobs->signed_url("k", Time::max()));
  EXPECT_FALSE(blobs->signed_put("k", 0, sha256(""), Time::max()));
}

}  // namespace
}  // namespace mayfly
