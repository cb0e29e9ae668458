// Limits that hold: each bomb goes off without its limit, and is contained with it.
#include <sstream>

#include "adapters/sandbox/cgroup.h"
#include "adapters/sandbox/tools.h"
#include "runner/sandbox/testing/sandbox_fixture.h"

namespace mayfly {
namespace {

using testing::HasSubstr;
using testing::Not;

class Limits : public EveryIsolation {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "limits need root, or cgroups delegated to this user";
    EveryIsolation::SetUp();
    mounts_ = CgroupMounts::find();
  }
  void need(bool there, const char* what) {
    if (!there && !mounts_.unified_limits) GTEST_SKIP() << "this machine has no writable " << what << " cgroup";
  }
  CgroupMounts mounts_;
};

MAYFLY_ON_EVERY_ISOLATION(Limits);

TEST_P(Limits, MemoryIsTheJobsOwn) {
  need(!mounts_.memory.empty(), "memory");
  auto bomb = "python3 -c 'b = bytearray(); \nwhile len(b) < 400 << 20: b += bytes(8 << 20)\nprint(\"had it\")'; echo $?";
  auto spec = make_spec();
  spec.memory_bytes = 100 << 20;
  auto job = run_job(spec, bomb);
  // Under gVisor the kernel may choose the sentry, and everything ends.
  EXPECT_THAT(job.output, gvisor() ? testing::Matcher<std::string>(Not(HasSubstr("had it"))) : testing::Matcher<std::string>("Killed\n137\n"));
  EXPECT_TRUE(job.out_of_memory);
  spec = make_spec();
  spec.memory_bytes = 0;
  job = run_job(spec, bomb);
  EXPECT_EQ(job.output, "had it\n0\n");
  EXPECT_FALSE(job.out_of_memory);
}

TEST_P(Limits, FilesInMemoryCountAsMemory) {
  need(!mounts_.memory.empty(), "memory");
  auto spec = make_spec();
  spec.memory_bytes = 64 << 20;
  auto job = run_job(spec, "head -c 200M /dev/zero > /dev/shm/x; echo $?");
  EXPECT_TRUE(job.out_of_memory);
  EXPECT_THAT(job.output, Not(HasSubstr("\n0\n")));
}

TEST_P(Limits, ADiskFullOfCachedPagesIsNotAMemoryProblem) {
  need(!mounts_.memory.empty(), "memory");
  auto spec = make_spec();
  spec.memory_bytes = 64 << 20;
  spec.disk_bytes = 512 << 20;
  auto job = run_job(spec, "head -c 300M /dev/zero > x && wc -c < x");
  EXPECT_EQ(job.output, "314572800\n");
  EXPECT_FALSE(job.out_of_memory);
}

TEST_P(Limits, ProcessesAreCounted) {
  need(!mounts_.pids.empty(), "pids");
  auto bomb = "python3 -c 'import os, signal\nn = 0\ntry:\n  while n < 200:\n    if os.fork() == 0: signal.pause()\n    n += 1\nexcept OSError: pass\nprint(n, flush=True)\nos.killpg(0, 9)'";
  auto spec = make_spec();
  spec.pids = 50;
  EXPECT_LT(std::stoi(run_job(spec, bomb).output), 50);
  spec = make_spec();
  spec.pids = 0;
  spec.memory_bytes = std::int64_t(1) << 30;   // each is a process of the host to gVisor, too
  EXPECT_EQ(run_job(spec, bomb).output, "200\n");
}

TEST_P(Limits, TheDiskIsAsLargeAsAskedFor) {
  auto spec = make_spec();
  spec.disk_bytes = 32 << 20;
  for (auto where : {"/workspace", "/tmp", "/usr/local", "/home/mayfly", "/var/tmp", "/etc", "/"}) {
    auto each = make_spec();
    each.disk_bytes = spec.disk_bytes;
    auto job = run_job(each, std::string("head -c 100M /dev/zero > ") + where + "/bomb 2>/dev/null; echo $?; wc -c < " + where + "/bomb");
    EXPECT_THAT(job.output, HasSubstr("1\n")) << where;
    EXPECT_LT(std::stol(job.output.substr(2)), spec.disk_bytes) << where;
    EXPECT_TRUE(job.disk_full) << where;
  }
  auto unlimited = make_spec();
  unlimited.disk_bytes = 0;
  auto job = run_job(unlimited, "head -c 100M /dev/zero > bomb; echo $?");
  EXPECT_EQ(job.output, "0\n");
  EXPECT_FALSE(job.disk_full);
}

TEST_P(Limits, ADiskThatWasFullIsRemembered) {
  auto spec = make_spec();
  spec.disk_bytes = 32 << 20;
  auto job = start(spec, "head -c 100M /dev/zero > bomb 2>/dev/null; sleep 1; rm bomb");  // full for longer than it takes to look again
  ASSERT_TRUE(loop_.run(job.sandbox().wait()));
  EXPECT_TRUE(job.sandbox().disk_full());
}

TEST_P(Limits, FilesAreCountedToo) {
  auto spec = make_spec();
  spec.disk_bytes = 16 << 20;
  auto job = run_job(spec, "i=0; while true > f$i; do i=$((i+1)); [ $i -gt 100000 ] && break; done 2>/dev/null; [ $i -lt 100000 ] && echo stopped");
  EXPECT_EQ(job.output, "stopped\n");
  EXPECT_TRUE(job.disk_full);
}

TEST_P(Limits, CpuTimeIsRationed) {
  need(!mounts_.cpu.empty(), "cpu");
  // As the host counts it: gVisor's clock of a process goes on while the host makes it wait.
  auto times_held_back = [&](std::int64_t cpu_milli) {
    auto spec = make_spec();
    spec.cpu_milli = cpu_milli;
    auto job = start(spec, "python3 -c 'import time\nend = time.monotonic() + 2\nwhile time.monotonic() < end: pass'; echo burnt; sleep 1000");
    EXPECT_EQ(job.read_line(), "burnt\n");
    std::istringstream words(read_whole((mounts_.cpu.empty() ? mounts_.unified : mounts_.cpu) + "/mayfly/" + spec.attempt.str() + "/job/cpu.stat"));
    for (std::string name, value; words >> name >> value;)
      if (name == "nr_throttled") return std::stol(value);
    return -1L;
  };
  EXPECT_GE(times_held_back(100), 5) << "two seconds of ten tenths each, of which it may have one";
  EXPECT_LE(times_held_back(0), 0);
}

}  // namespace
}  // namespace mayfly
