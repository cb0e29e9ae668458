#include "adapters/sandbox/disk.h"

#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "adapters/sandbox/probe.h"
#include "support/temp_dir.h"

namespace mayfly {
namespace {

constexpr std::int64_t mib = 1 << 20;

TEST(DiskStep, GivesFewSizes) {
  EXPECT_EQ(disk_step(1), 16 * mib);
  EXPECT_EQ(disk_step(4096 * mib), 4096 * mib);
  EXPECT_EQ(disk_step(4096 * mib + 1), 4608 * mib);
  EXPECT_EQ(disk_step(5 * 1024 * mib), 5 * 1024 * mib);
}

class Disk : public testing::Test {
 protected:
  void SetUp() override {
    if (!probe_machine().loop_devices) GTEST_SKIP() << "disks need root, /dev/loop-control and mkfs.ext4";
    std::filesystem::create_directories(attempt_);
  }
  std::string file_text(const std::string& path) {
    std::ifstream in(path);
    return {std::istreambuf_iterator<char>(in), {}};
  }

  TempDir data_;
  std::string cache_ = data_.file("cache");
  std::string attempt_ = data_.file("attempt");
};

TEST_F(Disk, LeavesNoFileBehindNotEvenWhileItIsThere) {
  auto disk = AttemptDisk::create(attempt_, cache_, 32 * mib);
  ASSERT_TRUE(disk) << disk.error().message;
  EXPECT_TRUE(disk->limited()) << disk->why_unlimited();
  std::ofstream(disk->path() + "/file") << "x";
  for (auto& entry : std::filesystem::directory_iterator(cache_)) EXPECT_EQ(entry.path().extension(), ".ext4") << entry.path();
}

TEST_F(Disk, AttachedBeforehandIsTaken) {
  auto made = make_detached_disk(cache_, 32 * mib);
  ASSERT_TRUE(made) << made.error().message;
  std::filesystem::create_directories(attempt_ + "/disk");
  ASSERT_TRUE(attach_disk(made->get(), (attempt_ + "/disk").c_str()));
  std::ofstream(attempt_ + "/disk/mark") << "the same";
  auto disk = AttemptDisk::create(attempt_, cache_, 32 * mib);
  ASSERT_TRUE(disk);
  EXPECT_TRUE(disk->limited());
  EXPECT_EQ(file_text(disk->path() + "/mark"), "the same");
}

TEST_F(Disk, OfAnotherSizeIsNotTaken) {
  auto made = make_detached_disk(cache_, 64 * mib);
  ASSERT_TRUE(made) << made.error().message;
  std::filesystem::create_directories(attempt_ + "/disk");
  ASSERT_TRUE(attach_disk(made->get(), (attempt_ + "/disk").c_str()));
  auto disk = AttemptDisk::create(attempt_, cache_, 32 * mib);
  ASSERT_TRUE(disk);
  struct statfs fs;
  ASSERT_EQ(statfs(disk->path().c_str(), &fs), 0);
  EXPECT_LT(std::int64_t(fs.f_blocks) * fs.f_bsize, 33 * mib);
  umount2(disk->path().c_str(), MNT_DETACH);  // both lie there
}

TEST_F(Disk, SparesAreOfTheSizeAskedForLast) {
  SpareDisks spares(cache_, 2);
  EXPECT_FALSE(spares.take(32 * mib));
  spares.refill(32 * mib);
  EXPECT_FALSE(spares.take(64 * mib));
  EXPECT_TRUE(spares.take(32 * mib));
  EXPECT_TRUE(spares.take(32 * mib));
  EXPECT_FALSE(spares.take(32 * mib));
  spares.refill(32 * mib);
  spares.refill(64 * mib);
  EXPECT_FALSE(spares.take(32 * mib));
  EXPECT_TRUE(spares.take(64 * mib));
  spares.refill(0);
  EXPECT_TRUE(spares.take(64 * mib)) << "a job without limit changes nothing";
}

TEST_F(Disk, ManyAtOnceShareOneTemplate) {
  std::vector<Result<UniqueFd>> disks;
  for (int i = 0; i < 6; ++i) disks.emplace_back(fail(Errc::internal, "not run"));
  {
    std::vector<std::jthread> threads;
    for (auto& disk : disks) threads.emplace_back([&] { disk = make_detached_disk(cache_, 32 * mib); });
  }
  for (auto& disk : disks) EXPECT_TRUE(disk) << disk.error().message;
}

}  // namespace
}  // namespace mayfly
