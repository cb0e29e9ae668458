// Cgroups as files: version 2 and version 1 on a tree of ordinary files, for a machine has one of them at most. What the
// kernel makes of them is in runner/sandbox/limits_test.cpp.
#include "adapters/sandbox/cgroup.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "adapters/sandbox/tools.h"
#include "support/temp_dir.h"

namespace mayfly {
namespace {

namespace fs = std::filesystem;

constexpr CgroupLimits some{.memory_bytes = 1 << 30, .cpu_milli = 1500, .pids = 100};

class Cgroups : public testing::Test {
 protected:
  /// A folder with the files a kernel would put there, empty.
  void make(const std::string& directory, std::initializer_list<const char*> files) {
    fs::create_directories(directory);
    for (auto file : files) std::ofstream(directory + "/" + file) << "";
  }
  std::string text(const std::string& path) { return read_whole(path); }

  CgroupMounts version_2() {
    for (auto& directory : {root_, root_ + "/mayfly", attempt_root_}) make(directory, {"cgroup.subtree_control"});
    make(job_, {"memory.max", "memory.swap.max", "cpu.max", "pids.max", "memory.events", "cgroup.kill"});
    return {.unified = root_, .unified_limits = true};
  }

  TempDir data_;
  AttemptId attempt_ = *AttemptId::parse("0193a2f4-0000-7000-8000-000000000001");
  std::string root_ = data_.file("cgroup"), attempt_root_ = root_ + "/mayfly/" + attempt_.str(), job_ = attempt_root_ + "/job";
};

TEST_F(Cgroups, OfVersion2HandTheControllersDownAndLimitTheJob) {
  auto group = JobCgroup::create(version_2(), attempt_, some);
  ASSERT_TRUE(group) << group.error().message;
  EXPECT_THAT(group->missing(), testing::IsEmpty());
  for (auto& directory : {root_, root_ + "/mayfly", attempt_root_}) EXPECT_EQ(text(directory + "/cgroup.subtree_control"), "+memory +cpu +pids");
  EXPECT_EQ(text(job_ + "/memory.max"), "1073741824");
  EXPECT_EQ(text(job_ + "/memory.swap.max"), "0");
  EXPECT_EQ(text(job_ + "/cpu.max"), "150000 100000");
  EXPECT_EQ(text(job_ + "/pids.max"), "100");
  EXPECT_GE(group->unified_directory(), 0);
  EXPECT_TRUE(group->task_files().empty());
}

TEST_F(Cgroups, OfVersion2TellOfMemoryKills) {
  auto group = JobCgroup::create(version_2(), attempt_, some);
  ASSERT_TRUE(group);
  std::ofstream(job_ + "/memory.events") << "low 0\nhigh 0\nmax 12\noom 1\noom_kill 0\noom_group_kill 0\n";
  EXPECT_FALSE(group->out_of_memory());
  std::ofstream(job_ + "/memory.events") << "low 0\nhigh 0\nmax 12\noom 1\noom_kill 2\noom_group_kill 0\n";
  EXPECT_TRUE(group->out_of_memory());
}

TEST_F(Cgroups, OfVersion2AreKilledAtOnce) {
  auto group = JobCgroup::create(version_2(), attempt_, some);
  ASSERT_TRUE(group);
  EXPECT_TRUE(group->kill());
  EXPECT_EQ(text(job_ + "/cgroup.kill"), "1");
}

TEST_F(Cgroups, ThatCannotHandControllersDownLimitNothingAndSaySo) {
  auto mounts = version_2();
  fs::remove(root_ + "/cgroup.subtree_control");
  auto group = JobCgroup::create(mounts, attempt_, some);
  ASSERT_TRUE(group) << group.error().message;
  EXPECT_THAT(group->missing(), testing::ElementsAre("memory", "cpu", "pids"));
  EXPECT_GE(group->unified_directory(), 0) << "still there to kill by";
}

TEST_F(Cgroups, OfVersion1AreOneAHierarchy) {
  CgroupMounts mounts{.memory = data_.file("memory"), .cpu = data_.file("cpu"), .pids = data_.file("pids")};
  auto job = [&](const std::string& mount) { return mount + "/mayfly/" + attempt_.str() + "/job"; };
  make(job(mounts.memory), {"tasks", "memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.oom_control"});
  make(job(mounts.cpu), {"tasks", "cpu.cfs_period_us", "cpu.cfs_quota_us"});
  make(job(mounts.pids), {"tasks", "pids.max"});
  auto group = JobCgroup::create(mounts, attempt_, some);
  ASSERT_TRUE(group) << group.error().message;
  EXPECT_EQ(text(job(mounts.memory) + "/memory.limit_in_bytes"), "1073741824");
  EXPECT_EQ(text(job(mounts.memory) + "/memory.memsw.limit_in_bytes"), "1073741824");
  EXPECT_EQ(text(job(mounts.cpu) + "/cpu.cfs_quota_us"), "150000");
  EXPECT_EQ(text(job(mounts.pids) + "/pids.max"), "100");
  EXPECT_EQ(group->task_files().size(), 3u);
  std::ofstream(job(mounts.memory) + "/memory.oom_control") << "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n";
  EXPECT_TRUE(group->out_of_memory());
}

TEST_F(Cgroups, OfServersThatAreGoneAreSweptWhenNobodyIsInThem) {
  auto at = [](int hours) { return AttemptId{uuid_v7(Time{std::chrono::hours(hours)}, std::array<std::uint8_t, 10>{})}; };
  auto directory = [&](AttemptId id) { return root_ + "/mayfly/" + id.str(); };
  for (auto id : {at(1), at(2), at(5)}) fs::create_directories(directory(id) + "/runner");
  std::ofstream(directory(at(2)) + "/runner/process") << "";  // rmdir says no, as it does for a group with processes
  fs::create_directories(root_ + "/mayfly/notes");
  remove_abandoned_cgroups({.unified = root_}, Time{std::chrono::hours(3)});
  EXPECT_FALSE(fs::exists(directory(at(1))));
  EXPECT_TRUE(fs::exists(directory(at(2)) + "/runner/process"));
  EXPECT_TRUE(fs::exists(directory(at(5)) + "/runner"));
  EXPECT_TRUE(fs::exists(root_ + "/mayfly/notes"));
}

TEST_F(Cgroups, ThatAreNotThereAreNamedOnlyIfTheyAreMissed) {
  auto group = JobCgroup::create({}, attempt_, {.memory_bytes = 1, .cpu_milli = 0, .pids = 1});
  ASSERT_TRUE(group);
  EXPECT_THAT(group->missing(), testing::ElementsAre("memory", "pids"));
  EXPECT_FALSE(group->out_of_memory());
}

}  // namespace
}  // namespace mayfly
