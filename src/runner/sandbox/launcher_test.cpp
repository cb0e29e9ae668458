#include "runner/sandbox/launcher.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <csignal>
#include <fstream>
#include <sstream>
#include <thread>

#include "adapters/sandbox/cgroup.h"
#include "adapters/sandbox/tools.h"
#include "runner/sandbox/init_file.h"
#include "runner/sandbox/testing/sandbox_fixture.h"
#include "runner/sandbox/uids.h"

namespace mayfly {
namespace {

using testing::HasSubstr;

std::string read_file(const std::string& path) { return read_whole(path); }

bool needs_root() { return geteuid() == 0; }

/// Mounts, cgroups, loop devices and processes that bear the attempt's name or uid, for people; empty when there are none.
std::string traces_of(const SandboxSpec& spec, uid_t uid) {
  std::ostringstream traces;
  std::istringstream mounts(read_file("/proc/self/mountinfo"));
  for (std::string line; std::getline(mounts, line);)
    if (line.find(spec.attempt.str()) != std::string::npos) traces << "mount: " << line << "\n";
  for (auto& hierarchy : std::filesystem::directory_iterator("/sys/fs/cgroup"))
    if (auto group = hierarchy.path() / "mayfly" / spec.attempt.str(); std::filesystem::exists(group)) traces << "cgroup: " << group << "\n";
  for (auto& device : std::filesystem::directory_iterator("/sys/block"))
    if (read_file(device.path() / "loop/backing_file").find(spec.attempt.str()) != std::string::npos) traces << "loop device: " << device.path() << "\n";
  for (auto& process : std::filesystem::directory_iterator("/proc"))
    if (read_file(process.path() / "status").find("\nUid:\t" + std::to_string(uid) + "\t") != std::string::npos ||
        read_file(process.path() / "cgroup").find(spec.attempt.str()) != std::string::npos)
      traces << "process: " << process.path() << "\n";
  return traces.str();
}

/// Nothing is left, or soon: the kernel's own tidying up is not always done when we are told.
std::string traces_after_a_while(const SandboxSpec& spec, uid_t uid) {
  std::string traces;
  for (auto until = std::chrono::steady_clock::now() + std::chrono::seconds(10); std::chrono::steady_clock::now() < until;) {
    if ((traces = traces_of(spec, uid)).empty()) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return traces;
}

struct SandboxOnThisMachine : EveryIsolation {};
MAYFLY_ON_EVERY_ISOLATION(SandboxOnThisMachine);

TEST_P(SandboxOnThisMachine, RunsAScriptAsTheFirstProcessOfItsOwnWorld) {
  auto job = run_job("echo \"$(id -un) in $(pwd) on $(cat /etc/hostname)\"; exit 3");
  EXPECT_EQ(job.output, "mayfly in /workspace on mayfly\n");
  EXPECT_EQ(job.exit_code, 3);
  EXPECT_EQ(job.detail, "");
}

TEST_P(SandboxOnThisMachine, TheWorkspaceIsTheSameDirectoryOnBothSides) {
  auto job = start(make_spec(), "until [ -e from-outside ]; do sleep 0.01; done; cat from-outside; echo inside > from-inside; stat -c %U from-outside");
  auto& paths = job.sandbox().paths();
  auto partial = paths.workspace_host + "/partial";
  std::ofstream(partial) << "hello\n";
  ASSERT_EQ(chown(partial.c_str(), paths.uid, paths.gid), 0);
  std::filesystem::rename(partial, paths.workspace_host + "/from-outside");
  EXPECT_EQ(job.finish().output, "hello\nmayfly\n");
  EXPECT_EQ(read_file(paths.workspace_host + "/from-inside"), "inside\n");
}

TEST_P(SandboxOnThisMachine, IsTheSameUnderARunnersUmask) {
  auto before = umask(077);
  auto job = run_job("cat /etc/hostname /etc/resolv.conf; id -un; cd /tmp && cd /var/tmp && cd /usr/local/lib && cd /run && echo x > /tmp/x && stat -c %a /tmp /usr/local /tmp/x");
  umask(before);
  EXPECT_EQ(job.output, "mayfly\nmayfly\n1777\n755\n644\n");
}

TEST_P(SandboxOnThisMachine, LeavesNothingBehind) {
  auto spec = make_spec();
  uid_t uid;
  {
    auto job = start(spec, "setsid sleep 1000 & sleep 1000 & echo ready; wait");
    uid = job.sandbox().paths().uid;
    EXPECT_EQ(job.read_line(), "ready\n");
    if (needs_root()) {
      EXPECT_THAT(traces_of(spec, uid), testing::AllOf(HasSubstr("mount: "), HasSubstr("cgroup: "), HasSubstr("process: ")));
    }
  }
  EXPECT_EQ(traces_after_a_while(spec, needs_root() ? uid : first_job_uid), "");
  EXPECT_FALSE(std::filesystem::exists(spec.attempt_dir + "/disk.ext4"));
}

TEST_P(SandboxOnThisMachine, EndsWithARunnerThatIsKilled) {
  if (!needs_root()) GTEST_SKIP() << "as root only: unprivileged jobs have no uid to be told by";
  auto spec = make_spec();
  int told[2];
  ASSERT_EQ(pipe(told), 0);
  pid_t runner = fork();
  if (runner == 0) {
    // What mayfly-runner has from its executor: mounts of its own, that go with it.
    if (unshare(CLONE_NEWNS) != 0 || mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) _exit(1);
    TestLoop loop;
    int script[2];
    if (pipe(script) != 0) _exit(1);
    spec.control_fd = script[0];
    spec.log_fd = told[1];
    auto sandbox = loop.run(launch_sandbox(loop.loop(), spec));
    if (!sandbox) _exit(1);
    std::string text = "echo ready; sleep 1000";
    if (write(script[1], text.data(), text.size()) < 0) _exit(1);
    close(script[1]);
    uid_t uid = (*sandbox)->paths().uid;
    if (write(told[1], &uid, sizeof uid) != sizeof uid) _exit(1);
    for (;;) pause();
  }
  close(told[1]);
  uid_t uid = 0;
  ASSERT_EQ(read(told[0], &uid, sizeof uid), ssize_t(sizeof uid));
  char ready[6];
  ASSERT_EQ(read(told[0], ready, sizeof ready), 6);
  EXPECT_THAT(traces_of(spec, uid), HasSubstr("process: "));
  kill(runner, SIGKILL);
  waitpid(runner, nullptr, 0);
  ASSERT_EQ(read(told[0], ready, 1), 0) << "until every process of the job has let go of its log";
  remove_attempt_cgroups(CgroupMounts::find(), spec.attempt);  // the executor's part
  EXPECT_EQ(traces_after_a_while(spec, uid), "");
  close(told[0]);
}

TEST_P(SandboxOnThisMachine, KillEndsEverythingInside) {
  auto job = start(make_spec(), "trap '' TERM INT HUP; setsid sleep 1000 & echo ready; while :; do sleep 1000; done");
  ASSERT_EQ(job.read_line(), "ready\n");
  job.sandbox().kill();
  EXPECT_EQ(job.finish().exit_code, 128 + SIGKILL);
  auto again = loop_.run(job.sandbox().wait());
  ASSERT_TRUE(again);
  EXPECT_EQ(again->exit_code, 128 + SIGKILL);
}

TEST_P(SandboxOnThisMachine, TwoJobsAtOnceAreStrangers) {
  auto one = start(make_spec(), "echo one > /tmp/mine; echo ready; until [ -e go ]; do sleep 0.01; done; cat /tmp/mine");
  ASSERT_EQ(one.read_line(), "ready\n");
  auto two = start(make_spec(), "ls /tmp; echo two > /tmp/mine; ls /proc | grep -c '^[0-9]'");
  if (needs_root()) {
    EXPECT_NE(one.sandbox().paths().uid, two.sandbox().paths().uid);
  }
  EXPECT_THAT(two.finish().output.substr(0, 1), testing::AnyOf("3", "4")) << "init, sh, ls and perhaps already grep";
  std::ofstream(one.sandbox().paths().workspace_host + "/go") << "";
  EXPECT_EQ(one.finish().output, "one\n");
}

TEST_P(SandboxOnThisMachine, SaysWhatIsWrongBeforeAnythingRuns) {
  auto spec = make_spec();
  spec.init_path = data_.file("no-such-init");
  auto job = try_start(spec, "true");
  ASSERT_FALSE(job);
  EXPECT_EQ(job.error().code, Errc::not_found);
  EXPECT_THAT(job.error().message, HasSubstr("no-such-init"));
  spec = make_spec();
  spec.network = true;
  spec.allowed_networks = {"10.0.0.0/99"};
  EXPECT_EQ(try_start(spec, "true").error().code, Errc::invalid);
}

TEST_P(SandboxOnThisMachine, SaysWhyItsFirstProcessDidNotStart) {
  auto spec = make_spec();
  spec.init_path = data_.file("not-a-program");
  std::ofstream(spec.init_path) << "hello";
  auto job = start(spec, "true").finish();
  EXPECT_NE(job.exit_code, 0);
  EXPECT_THAT(job.detail, HasSubstr("/run/mayfly/init"));
}

TEST(JobUid, IsHeldByOneAttemptAtATime) {
  auto attempt = fresh_attempt();
  auto one = JobUid::claim(attempt);
  ASSERT_TRUE(one);
  EXPECT_GE(one->value(), first_job_uid);
  EXPECT_LT(one->value(), first_job_uid + job_uid_count);
  {
    auto two = JobUid::claim(attempt);
    ASSERT_TRUE(two);
    EXPECT_NE(two->value(), one->value());
  }
  auto three = JobUid::claim(attempt);
  ASSERT_TRUE(three);
  EXPECT_NE(three->value(), one->value());
}

TEST(InitFile, IsCopiedOncePerVersionAndCannotBeRead) {
  TempDir dir;
  auto init = dir.file("init"), cache = dir.file("cache");
  std::ofstream(init) << "version 1";
  auto first = exec_only_init(init, cache), again = exec_only_init(init, cache);
  ASSERT_TRUE(first && again);
  EXPECT_EQ(*first, *again);
  struct stat st;
  ASSERT_EQ(stat(first->c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0111u);
  std::ofstream(init, std::ios::app) << " and 2";
  auto second = exec_only_init(init, cache);
  ASSERT_TRUE(second);
  EXPECT_NE(*second, *first);
  EXPECT_EQ(exec_only_init(dir.file("absent"), cache).error().code, Errc::not_found);
}

}  // namespace
}  // namespace mayfly
