// A job's container from its first moment to its last, on a real engine.
#include "runner/docker/launcher.h"

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>

#include "runner/docker/container_plan.h"
#include "runner/docker/testing/docker_fixture.h"

namespace mayfly {
namespace {

using testing::HasSubstr;
using testing::Not;

class JobInDocker : public DockerTest {};

TEST_F(JobInDocker, RunsItsStepsInItsImage) {
  auto job = run_job("echo hello; id -u; whoami; echo $HOME; pwd; touch /workspace/a /tmp/b /var/tmp/c $HOME/d && echo written; exit 3");
  ASSERT_TRUE(job.done) << job.error;
  EXPECT_EQ(job.done->outcome, Outcome::failure);
  EXPECT_EQ(job.done->exit_code, 3);
  EXPECT_EQ(job.exit_code, 0);
  EXPECT_THAT(job.output, testing::MatchesRegex("hello\n[0-9]+\nmayfly\n/home/mayfly\n/workspace\nwritten\n"));
  EXPECT_THAT(job.output, Not(HasSubstr("\n0\n"))) << "not as root";
}

TEST_F(JobInDocker, SharesItsWorkspaceWithItsRunner) {
  auto job = try_start(make_spec());
  ASSERT_TRUE(job) << job.error().message;
  auto& paths = job->sandbox().paths();
  std::ofstream(paths.workspace_host + "/given") << "from outside\n";
  job->run("cat given; echo from inside > taken");
  auto result = job->finish();
  EXPECT_EQ(result.output, "from outside\n");
  std::ifstream in(paths.workspace_host + "/taken");
  std::string line;
  std::getline(in, line);
  EXPECT_EQ(line, "from inside");
  struct stat st;
  ASSERT_EQ(stat((paths.workspace_host + "/taken").c_str(), &st), 0);
  EXPECT_EQ(st.st_uid, paths.uid);
}

TEST_F(JobInDocker, BringsALongLogWholeAndInOrder) {
  auto job = run_job("i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done; head -c 20000000 /dev/zero | tr '\\0' x; echo; echo end");
  ASSERT_TRUE(job.done) << job.error;
  EXPECT_EQ(job.done->log_bytes, std::int64_t(job.output.size()));
  EXPECT_THAT(job.output.substr(0, 40), HasSubstr("line 0\nline 1\nline 2\n"));
  EXPECT_EQ(std::ranges::count(job.output, 'x'), 20'000'000);
  EXPECT_TRUE(job.output.ends_with("\nend\n"));
}

TEST_F(JobInDocker, OutOfMemoryIsToldApart) {
  auto spec = make_spec(large_image);
  spec.memory_bytes = 64 << 20;
  auto job = run_job(spec, "head -c 300m /dev/zero | tail");
  EXPECT_TRUE(job.out_of_memory);
  EXPECT_FALSE(run_job("exit 1").out_of_memory);
}

TEST_F(JobInDocker, HasOnlySoManyProcesses) {
  auto spec = make_spec(large_image);
  spec.pids = 32;
  auto job = run_job(spec, "i=0; while [ $i -lt 100 ]; do sleep 5 & i=$((i+1)); done; echo all started");
  EXPECT_THAT(job.output, Not(HasSubstr("all started")));
}

TEST_F(JobInDocker, IsNamedAndMarkedAsItsAttempts) {
  auto spec = make_spec();
  auto job = start(spec, "sleep 1000");
  auto seen = loop_.run(engine_->inspect(container_name(spec.attempt)));
  ASSERT_TRUE(seen) << seen.error().message;
  EXPECT_TRUE(seen->running);
  EXPECT_EQ(seen->labels["mayfly.dev/attempt"], spec.attempt.str());
  EXPECT_EQ(seen->labels["mayfly.dev/fence"], "3");
  EXPECT_EQ(seen->labels["mayfly.dev/pool"], "unit-tests");
}

TEST_F(JobInDocker, ASecondOneOfTheSameAttemptIsRefusedAndTheFirstGoesOn) {
  auto spec = make_spec();
  auto first = start(spec, "echo up; while [ ! -e go ]; do sleep 0.05; done; echo still here");
  ASSERT_TRUE(first.wait_for("up"));
  auto again = spec;
  again.attempt_dir += "-again";
  std::filesystem::create_directories(again.attempt_dir);
  auto second = try_start(again);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Errc::conflict);
  EXPECT_EQ(containers().size(), 1u);
  std::ofstream(first.sandbox().paths().workspace_host + "/go");
  EXPECT_THAT(first.finish().output, HasSubstr("still here"));
}

TEST_F(JobInDocker, EndsWhenItIsKilled) {
  auto job = start(make_spec(), "echo up; sleep 1000");
  ASSERT_TRUE(job.wait_for("up"));
  job.sandbox().kill();
  auto result = job.finish();
  EXPECT_FALSE(result.done);
  EXPECT_EQ(result.exit_code, 137);
  EXPECT_EQ(result.detail, "its container ended with 137");
  EXPECT_FALSE(result.out_of_memory);
}

TEST_F(JobInDocker, LeavesNothingBehindWhereverItIsLeft) {
  {
    auto job = try_start(make_spec());
    ASSERT_TRUE(job);
  }
  EXPECT_TRUE(containers().empty());
  {
    auto job = start(make_spec(), "echo up; sleep 1000");
    ASSERT_TRUE(job.wait_for("up"));
  }
  EXPECT_TRUE(containers().empty());
}

TEST_F(JobInDocker, EndsWithItsRunner) {
  auto spec = make_spec();
  spec.attempt_dir = data_.file("runners/of-another-process");
  std::filesystem::create_directories(spec.attempt_dir);
  pid_t runner = fork();
  if (runner == 0) {
    auto job = start(spec, "echo up; sleep 1000");
    (void)job.wait_for("up");
    kill(getpid(), SIGKILL);
  }
  int status = 0;
  waitpid(runner, &status, 0);
  ASSERT_TRUE(WIFSIGNALED(status));
  bool ended = false;
  for (int i = 0; i < 2000 && !ended; ++i, usleep(5000)) {
    auto seen = loop_.run(engine_->inspect(container_name(spec.attempt)));
    ended = seen && !seen->running;
  }
  EXPECT_TRUE(ended) << "init hears that the other end of its input is gone";
  ASSERT_TRUE(loop_.run(engine_->remove(container_name(spec.attempt))));
}

TEST_F(JobInDocker, SomebodyWhoRemovesTheContainerIsToldOf) {
  auto spec = make_spec();
  auto job = start(spec, "echo up; sleep 1000");
  ASSERT_TRUE(job.wait_for("up"));
  ASSERT_TRUE(loop_.run(engine_->remove(container_name(spec.attempt))));
  auto result = job.finish();
  EXPECT_FALSE(result.done);
  // It was killed first, and looked at before it was removed or after.
  EXPECT_THAT(result.error + result.detail, testing::AnyOf("its container was removed by somebody", "its container was killed by somebody"));
}

TEST_F(JobInDocker, AnImageThatIsNotThereSaysSo) {
  auto job = try_start(make_spec("127.0.0.1:1/no/such:tag"));
  ASSERT_FALSE(job);
  // No registry listens: it was tried several times.
  EXPECT_EQ(job.error().code, Errc::timeout) << job.error().message;
  EXPECT_THAT(job.error().message, testing::AllOf(HasSubstr("127.0.0.1:1/no/such:tag"), HasSubstr("tries")));
}

TEST_F(JobInDocker, APullNobodyWaitsForIsGivenUp) {
  auto spec = make_spec("127.0.0.1:1/no/such:tag");
  std::stop_source stop;
  spec.stop = stop.get_token();
  spec.say = [&](std::string) { stop.request_stop(); };
  auto before = std::chrono::steady_clock::now();
  auto job = try_start(spec);
  ASSERT_FALSE(job);
  EXPECT_EQ(job.error().code, Errc::canceled);
  EXPECT_LT(std::chrono::steady_clock::now() - before, std::chrono::seconds(10));
}

TEST_F(JobInDocker, WhatDockerCannotRunIsRefusedInPlainWords) {
  for (auto image : {"host", "", "/srv/root", "oci:/srv/image", "Bad Name"}) {
    auto job = try_start(make_spec(image));
    ASSERT_FALSE(job);
    EXPECT_EQ(job.error().code, Errc::unsupported) << image;
    EXPECT_NE(job.error().hint, "");
  }
  place_.default_image = small_image;
  EXPECT_EQ(run_job(make_spec("host"), "echo in the default image").output, "in the default image\n");
}

TEST_F(JobInDocker, HasServicesAtTheirNames) {
  auto spec = make_spec(large_image);
  spec.services = {{"web", small_image, "mkdir /tmp/www && echo served > /tmp/www/index.html && exec httpd -f -p 8080 -h /tmp/www", {}, "wget -q -O /dev/null http://127.0.0.1:8080/"}};
  auto job = try_start(spec);
  ASSERT_TRUE(job) << job.error().message;
  auto failure = loop_.run(job->sandbox().start_services());
  ASSERT_FALSE(failure) << failure->what;
  job->run("curl -sS http://web:8080/");
  EXPECT_EQ(job->finish().output, "served\n");
}

TEST_F(JobInDocker, AServiceThatEndsSaysItsLastLines) {
  auto spec = make_spec();
  spec.services = {{"db", small_image, "echo cannot open the disk; exit 4", {}, "true"}};
  auto job = try_start(spec);
  ASSERT_TRUE(job) << job.error().message;
  auto failure = loop_.run(job->sandbox().start_services());
  ASSERT_TRUE(failure);
  EXPECT_EQ(failure->reason, Reason::service);
  EXPECT_EQ(failure->what, "the service 'db' ended with 4");
  EXPECT_THAT(failure->last_lines, testing::ElementsAre("cannot open the disk"));
}

TEST_F(JobInDocker, AServiceThatEndsLaterIsSeen) {
  auto spec = make_spec();
  spec.services = {{"db", small_image, "sleep 1; exit 5", {}, ""}};
  auto job = try_start(spec);
  ASSERT_TRUE(job) << job.error().message;
  ASSERT_FALSE(loop_.run(job->sandbox().start_services()));
  auto failure = loop_.run(job->sandbox().service_ended());
  ASSERT_TRUE(failure);
  EXPECT_EQ(failure->what, "the service 'db' ended with 5");
}

TEST_F(JobInDocker, UnderGvisorItIsTheSame) {
  if (!has_runtime("runsc")) GTEST_SKIP() << "the engine has no runsc";
  place_.runtime = "runsc";
  auto spec = make_spec(large_image);
  spec.isolation = "gvisor";
  auto job = run_job(spec, "dmesg | head -n 3; id -u; touch /workspace/a /tmp/b && echo written; for i in $(seq 1000); do echo line $i; done; exit 5");
  ASSERT_TRUE(job.done) << job.error << job.detail;
  EXPECT_EQ(job.done->exit_code, 5);
  EXPECT_THAT(job.output, testing::AllOf(HasSubstr("gVisor"), HasSubstr("written"), HasSubstr("line 1000\n")));
}

TEST_F(JobInDocker, OutOfMemoryUnderGvisorIsToldApart) {
  if (!has_runtime("runsc")) GTEST_SKIP() << "the engine has no runsc";
  place_.runtime = "runsc";
  auto spec = make_spec(large_image);
  spec.isolation = "gvisor";
  spec.memory_bytes = 128 << 20;
  auto job = run_job(spec, "head -c 600m /dev/zero | tail");
  EXPECT_TRUE(job.out_of_memory) << job.detail << job.error;
}

}  // namespace
}  // namespace mayfly
