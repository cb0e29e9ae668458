// What only gVisor does, and what is said where it cannot be had.
#include "runner/sandbox/gvisor.h"

#include <fcntl.h>
#include <unistd.h>

#include <fstream>
#include <set>

#include "adapters/sandbox/tools.h"
#include "adapters/sandbox/unique_fd.h"
#include "runner/sandbox/testing/sandbox_fixture.h"

namespace mayfly {
namespace {

using testing::HasSubstr;
using testing::Not;

class Gvisor : public SandboxTest {
 protected:
  void SetUp() override {
    if (runsc_for_tests().empty()) GTEST_SKIP() << no_runsc;
    isolation_ = "gvisor";
  }
};

TEST_F(Gvisor, TheJobHasAKernelOfItsOwn) {
  auto seen = "cat /proc/version; dmesg 2>&1";
  EXPECT_THAT(run_job(seen).output, testing::AllOf(HasSubstr("gvisor"), HasSubstr("Starting gVisor")));
  auto version = read_whole("/proc/version");
  EXPECT_THAT(run_job(seen).output, Not(HasSubstr(version.substr(0, version.find('(')))));
  isolation_ = "sandbox";
  EXPECT_THAT(run_job(seen).output, testing::AllOf(HasSubstr(version), Not(HasSubstr("gVisor"))));
}

TEST_F(Gvisor, TheHostsKernelCannotBeAskedAboutItsMachine) {
  // What a sandbox's job reads of the real machine, one under gVisor does not find.
  auto seen = "cat /proc/modules /proc/kallsyms /proc/iomem /proc/interrupts 2>/dev/null | head -c 100 | wc -c";
  EXPECT_EQ(run_job(seen).output, "0\n");
  isolation_ = "sandbox";
  EXPECT_NE(run_job(seen).output, "0\n");
}

TEST_F(Gvisor, ALogThatHasBegunIsContinuedAndNotWrittenOver) {
  auto path = data_.file("log");
  std::ofstream(path) << "before\n";
  int control[2];
  ASSERT_EQ(pipe2(control, O_CLOEXEC), 0);
  UniqueFd script(control[1]), script_end(control[0]), log(open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
  auto spec = make_spec();
  spec.control_fd = script_end.get();
  spec.log_fd = log.get();
  auto sandbox = loop_.run(launch_sandbox(loop_.loop(), spec));
  ASSERT_TRUE(sandbox) << sandbox.error().message;
  script_end.reset();
  std::string_view text = "echo one; echo two";
  ASSERT_EQ(write(script.get(), text.data(), text.size()), ssize_t(text.size()));
  script.reset();
  ASSERT_EQ(loop_.run((*sandbox)->wait())->exit_code, 0);
  EXPECT_EQ(read_whole(path), "before\none\ntwo\n");
}

TEST_F(Gvisor, WhatBreaksOutOfItIsNobodyOnTheHost) {
  if (geteuid() != 0) GTEST_SKIP() << "as root only: else there is but one uid";
  auto spec = make_spec();
  auto job = start(spec, "echo ready; sleep 1000");
  ASSERT_EQ(job.read_line(), "ready\n");
  std::set<std::string> uids;
  auto& paths = job.sandbox().paths();
  for (auto& process : std::filesystem::directory_iterator("/proc")) {
    auto status = read_whole(process.path() / "status");
    if (status.empty() || read_whole(process.path() / "cgroup").find(spec.attempt.str()) == std::string::npos) continue;
    auto at = status.find("\nUid:\t") + 6;
    uids.insert(status.substr(at, status.find('\t', at) - at));
  }
  EXPECT_THAT(uids, testing::SizeIs(1));
  EXPECT_THAT(uids, Not(testing::Contains("0")));
  EXPECT_THAT(uids, Not(testing::Contains(std::to_string(paths.uid))));
}

TEST_F(SandboxTest, GvisorThatIsNotInstalledIsSaidSo) {
  auto spec = make_spec();
  spec.isolation = "gvisor";
  spec.runsc = data_.file("no-such-runsc");
  auto job = try_start(spec, "true");
  ASSERT_FALSE(job);
  EXPECT_EQ(job.error().code, Errc::unsupported);
  EXPECT_THAT(job.error().message, HasSubstr("runsc is not installed"));
}

TEST_F(SandboxTest, AnotherIsolationIsRefusedAndNothingWeakerTaken) {
  for (auto word : {"kata", "runc", "", "walls"}) {
    auto spec = make_spec();
    spec.isolation = word;
    auto job = try_start(spec, "true");
    ASSERT_FALSE(job);
    EXPECT_EQ(job.error().code, Errc::unsupported) << word;
  }
}

}  // namespace
}  // namespace mayfly
