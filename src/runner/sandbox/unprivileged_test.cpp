// The sandbox as a server without root has it. A program of its own, for as root it gives its privilege up for good.
#include <fcntl.h>
#include <grp.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include <fstream>

#include "runner/sandbox/testing/sandbox_fixture.h"

namespace mayfly {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr uid_t somebody = 54321;

class Unprivileged : public EveryIsolation {
 protected:
  static void SetUpTestSuite() {
    setenv("TMPDIR", "/var/tmp", 1);  // see escape_test.cpp
    if (geteuid() != 0) return;
    if (setgroups(0, nullptr) != 0 || setresgid(somebody, somebody, somebody) != 0 || setresuid(somebody, somebody, somebody) != 0)
      throw std::runtime_error("cannot become somebody");
    prctl(PR_SET_DUMPABLE, 0);  // as mayfly-runner is
  }
  SandboxSpec make_spec() {
    auto spec = SandboxTest::make_spec();
    spec.init_path = readable_init();
    return spec;
  }

 private:
  /// The build folder may be out of somebody's reach; this was opened before.
  std::string readable_init() {
    auto copy = data_.file("init");
    if (std::filesystem::exists(copy)) return copy;
    struct stat st;
    fstat(init_fd, &st);
    std::string bytes(std::size_t(st.st_size), '\0');
    EXPECT_EQ(pread(init_fd, bytes.data(), bytes.size(), 0), st.st_size);
    std::ofstream(copy) << bytes;
    std::filesystem::permissions(copy, std::filesystem::perms::owner_all);
    return copy;
  }
  static const int init_fd;
};

MAYFLY_ON_EVERY_ISOLATION(Unprivileged);

const int Unprivileged::init_fd = open(MAYFLY_TEST_INIT, O_RDONLY | O_CLOEXEC);

TEST_P(Unprivileged, RunsJobsInNamespacesAllTheSame) {
  auto job = run_job("echo \"$(id -un) in $(pwd)\"; ls /proc | grep -c '^[0-9]'; grep CapEff /proc/self/status; echo x > /workspace/f && echo x > /usr/local/bin/f && ls /usr/local/bin/f");
  EXPECT_THAT(job.output, testing::MatchesRegex("mayfly in /workspace\n[34]\nCapEff:\t0000000000000000\n/usr/local/bin/f\n")) << "init, sh, ls and perhaps already grep";
  EXPECT_FALSE(std::filesystem::exists("/usr/local/bin/f"));
}

TEST_P(Unprivileged, SharesTheWorkspaceWithItsRunner) {
  auto job = start(make_spec(), "until [ -e go ]; do sleep 0.01; done; echo inside > answer");
  std::ofstream(job.sandbox().paths().workspace_host + "/go") << "";
  EXPECT_EQ(job.finish().exit_code, 0);
  EXPECT_TRUE(std::filesystem::exists(job.sandbox().paths().workspace_host + "/answer"));
}

TEST_P(Unprivileged, KeepsJobsFromTheServersFilesAndProcesses) {
  std::ofstream(data_.file("secret")) << "secret\n";
  auto attack = "[ -d /host ] && H=/host; grep -c secret $H" + data_.file("secret") + "; [ -d /proc/" + std::to_string(getpid()) + "/ns ] && echo seen; kill -0 " +
                std::to_string(getpid()) + " && echo signalled";
  EXPECT_THAT(run_job(attack).output, testing::AllOf(Not(HasSubstr("1\n")), Not(HasSubstr("seen")), Not(HasSubstr("signalled"))));
  if (gvisor()) return;   // the switches are bubblewrap's
  EXPECT_EQ(run_job(make_spec(), attack, {.allow_list = false}).output.substr(0, 2), "1\n");
  EXPECT_THAT(run_job(make_spec(), attack, {.process_namespace = false}).output, HasSubstr("seen\n"));
}

TEST_P(Unprivileged, FiltersSystemCalls) {
  if (gvisor()) GTEST_SKIP() << "the job's system calls end in its own kernel";
  auto attack = "unshare -Ur true && echo ESCAPED";
  EXPECT_THAT(run_job(attack).output, Not(HasSubstr("ESCAPED")));
  EXPECT_THAT(run_job(make_spec(), attack, {.seccomp = false}).output, HasSubstr("ESCAPED"));
}

TEST_P(Unprivileged, HasNetworkBehindTheSameFirewall) {
  auto spec = make_spec();
  spec.network = true;
  auto job = try_start(spec, "cat /proc/net/route | grep -c tap0; timeout 3 bash -c ': > /dev/tcp/169.254.169.254/80' 2>&1; ip link set tap0 down 2>&1");
  if (!job && job.error().message.find("tun") != std::string::npos) GTEST_SKIP() << "slirp4netns cannot open /dev/net/tun here: " << job.error().message;
  ASSERT_TRUE(job) << job.error().message;
  EXPECT_THAT(job->finish().output, testing::AllOf(HasSubstr("2\n"), HasSubstr("No route to host"), HasSubstr("Operation not permitted")));
}

TEST_P(Unprivileged, LeavesNothingRunning) {
  auto job = start(make_spec(), "trap '' TERM; sleep 1000 & echo ready; wait");
  ASSERT_EQ(job.read_line(), "ready\n");
  job.sandbox().kill();
  EXPECT_EQ(job.finish().exit_code, 137);
}

TEST_P(Unprivileged, SaysWhichLimitsDoNotHold) {
  testing::internal::CaptureStderr();
  auto spec = make_spec();
  spec.cpu_milli = 500;
  run_job(spec, "true");
  auto said = testing::internal::GetCapturedStderr();
  for (auto limit : {"memory", "cpu", "pids", "disk"}) EXPECT_THAT(said, HasSubstr(std::string("job's ") + limit + " limit does not hold"));
}

}  // namespace
}  // namespace mayfly
