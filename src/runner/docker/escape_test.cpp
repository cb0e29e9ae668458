// Attempts to get out of a job's container, or at what is not the job's. Each runs against all defences, where it must fail, and without
// the one that is meant against it, where it must succeed.
#include <gmock/gmock.h>

#include "runner/docker/testing/docker_fixture.h"

namespace mayfly {
namespace {

using testing::HasSubstr;
using testing::Not;

using Weaken = std::function<void(docker::ContainerSpec&)>;

void be_root(docker::ContainerSpec& spec) { spec.user = "0:0"; }
void write_everywhere(docker::ContainerSpec& spec) {
  be_root(spec);
  spec.read_only_root = false;
}
void administer(docker::ContainerSpec& spec) {
  be_root(spec);
  spec.capabilities = {"SYS_ADMIN", "MKNOD", "NET_ADMIN", "SYS_PTRACE", "DAC_OVERRIDE"};
}
void share_the_host(docker::ContainerSpec& spec) { spec.mounts.push_back({"/etc", "/host", false}); }

struct Attack {
  const char* name;
  Weaken without;
  const char* script;
  const char* image = large_image;
};

void PrintTo(const Attack& attack, std::ostream* out) { *out << attack.name; }

class ContainerEscape : public DockerTest, public testing::WithParamInterface<Attack> {};

TEST_P(ContainerEscape, FailsAndWouldNotWithoutItsDefence) {
  auto script = std::string("exec 2>&1; ") + GetParam().script + "; true";
  EXPECT_THAT(run_job(make_spec(GetParam().image), script).output, Not(HasSubstr("ESCAPED")));
  weaken_ = GetParam().without;
  EXPECT_THAT(run_job(make_spec(GetParam().image), script).output, HasSubstr("ESCAPED"));
}

const Attack attacks[] = {
    {"WriteToTheImagesPrograms", write_everywhere, "touch /usr/bin/x && echo ESCAPED"},
    {"BeRoot", be_root, "id -u | grep -qx 0 && echo ESCAPED"},
    {"Mount", administer, "mkdir -p /tmp/m && mount -t tmpfs none /tmp/m && echo ESCAPED", small_image},
    {"MakeAUserNamespace", administer, "unshare -U true && echo ESCAPED"},
    {"MakeAMountNamespace", administer, "unshare -m true && echo ESCAPED"},
    {"BringUpADevice", administer, "ip link add name d0 type bridge && echo ESCAPED"},
    {"ReadFilesOfTheHost", share_the_host, "ls /host/hostname && echo ESCAPED"},
};

INSTANTIATE_TEST_SUITE_P(All, ContainerEscape, testing::ValuesIn(attacks), [](auto& info) { return std::string(info.param.name); });

/// What has no switch: there is nothing to be had at all.
class ContainerWalls : public DockerTest, public testing::WithParamInterface<const char*> {
 protected:
  void SetUp() override {
    DockerTest::SetUp();
    if (IsSkipped()) return;
    place_.runtime = GetParam();
    if (!has_runtime(place_.runtime)) GTEST_SKIP() << "the engine has no " << place_.runtime;
  }
  SandboxSpec spec() {
    auto made = make_spec(large_image);
    made.isolation = place_.runtime == "runsc" ? "gvisor" : "runc";
    return made;
  }
};

INSTANTIATE_TEST_SUITE_P(Under, ContainerWalls, testing::Values("runc", "runsc"), [](auto& info) { return std::string(info.param); });

TEST_P(ContainerWalls, InitIsOutOfReach) {
  auto job = run_job(spec(), R"(exec 2>&1
ls /proc/1/fd && echo SEEN
echo forged > /proc/1/fd/2 && echo FORGED
for fd in 3 4 5 6 7 8; do echo forged > /proc/1/fd/$fd && echo FORGED; done
head -c 1 /proc/1/mem && echo READ
cat /proc/1/environ && echo READ
echo still here)");
  ASSERT_TRUE(job.done) << job.error << job.detail;
  EXPECT_THAT(job.output, testing::AllOf(Not(HasSubstr("FORGED")), Not(HasSubstr("READ")), HasSubstr("still here\n")));
  EXPECT_EQ(job.done->log_bytes, std::int64_t(job.output.size()));
  if (place_.runtime == "runc") EXPECT_THAT(job.output, Not(HasSubstr("SEEN")));  // gVisor shows their numbers and opens none
}

TEST_P(ContainerWalls, ProcessOneIsNotTheJobsToKill) {
  if (place_.runtime == "runsc") GTEST_SKIP() << "gVisor lets a container kill its own first process: the job ends itself";
  EXPECT_EQ(run_job(spec(), "kill -9 1; echo still here").output, "still here\n");
}

TEST_P(ContainerWalls, ThereIsNoWayBackToBeingRoot) {
  auto job = run_job(spec(), R"(exec 2>&1
grep -E '^(CapEff|CapPrm|CapBnd|NoNewPrivs)' /proc/self/status
ls /var/run/docker.sock /run/docker.sock /run/mayfly/ 2>/dev/null
for f in /proc/sys/kernel/core_pattern /proc/sysrq-trigger /etc/passwd /run/mayfly/init /usr/bin/env; do (echo x > $f) && echo WRITTEN; done
true)");
  ASSERT_TRUE(job.done) << job.error << job.detail;
  EXPECT_THAT(job.output, testing::AllOf(HasSubstr("CapEff:\t0000000000000000"), HasSubstr("CapBnd:\t0000000000000000"), Not(HasSubstr("WRITTEN")), Not(HasSubstr("docker.sock"))));
  if (place_.runtime == "runc") EXPECT_THAT(job.output, HasSubstr("NoNewPrivs:\t1"));
}

TEST_P(ContainerWalls, ASetuidProgramGivesNothing) {
  auto job = run_job(spec(), "for f in /bin/su /usr/bin/su /bin/mount /usr/bin/mount; do [ -u $f ] && echo $f; done; cp /bin/bash /tmp/b; chmod u+s /tmp/b; /tmp/b -p -c 'id -u'");
  EXPECT_THAT(job.output, Not(testing::ContainsRegex("(^|\n)0\n")));
}

TEST_P(ContainerWalls, ProcessesOfTheMachineAreNotThere) {
  auto job = run_job(spec(), "ls -d /proc/[0-9]* | wc -l");
  ASSERT_TRUE(job.done);
  EXPECT_LT(std::stoi(job.output), 8);
}

}  // namespace
}  // namespace mayfly
