// The shipped programs together: mayfly-runner, the sandbox, mayfly-init, git; in front of a server of the test's.
#include <gmock/gmock.h>
#include <fcntl.h>
#include <sys/wait.h>

#include <chrono>
#include <fstream>
#include <thread>

#include "adapters/host_runners/runner_files.h"
#include "adapters/system/system_entropy.h"
#include "runner/sidecar/testing/fake_server.h"
#include "runner/sidecar/testing/one_step_job.h"
#include "support/run.h"
#include "support/temp_dir.h"

namespace mayfly {
namespace {

using testing::HasSubstr;

class RunnerProgram : public testing::Test {
 protected:
  void SetUp() override {
    if (::system("command -v bwrap >/dev/null") != 0) GTEST_SKIP() << "bubblewrap is not installed";
    std::filesystem::create_directories(directory_.path() / "data/runners/a");
    std::filesystem::permissions(attempt_dir(), std::filesystem::perms::owner_all);
  }

  std::filesystem::path attempt_dir() const { return directory_.path() / "data/runners/a"; }

  /// A repository of the test's as a mirror of the server's: the source of `job`.
  void give_source(RunnerJob& job) {
    auto script = "cd " + directory_.path().string() +
                  " && export GIT_CONFIG_GLOBAL=/dev/null GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b"
                  " && git init -q -b main src && cd src && echo hello > file && mkdir sub && echo deep > sub/f && printf '#!/bin/sh\\necho ran\\n' > run.sh && chmod +x run.sh"
                  " && ln -s file link && git add . && git commit -q -m first && echo more >> file && git commit -q -am second"
                  " && git clone -q --bare . ../mirror.git && sha=$(git rev-parse HEAD) && git -C ../mirror.git update-ref refs/mayfly/$sha $sha && printf $sha > ../sha";
    ASSERT_EQ(::system(script.c_str()), 0);
    std::ifstream in(directory_.path() / "sha");
    in >> job.source.sha;
    job.source.repository = directory_.path() / "mirror.git";
    job.source.ref = "refs/heads/main";
    job.source.checkout = {};
    job.env["CI_REPO_URL"] = "https://example.org/repo.git";
  }

  int run(FakeServer& server) {
    start(server);
    int status = 0;
    EXPECT_EQ(::waitpid(pid_, &status, 0), pid_);
    EXPECT_THAT(server.breaches(), testing::IsEmpty());
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

  void start(FakeServer& server) {
    TestLoop loop;
    SystemClock clock(loop.loop());
    SystemEntropy entropy;
    RunnerFile file;
    file.spec.attempt = make_id<AttemptId>(clock, entropy);
    file.spec.api_url = server.url();
    file.spec.image = "host";
    file.spec.memory_bytes = 256 << 20;
    file.spec.disk_bytes = 256 << 20;
    file.spec.pids = 200;
    file.spec.network = false;
    file.spec.timeout = std::chrono::minutes(10);
    file.cache_dir = directory_.path() / "data/sandbox";
    std::filesystem::create_directories(file.cache_dir);
    ASSERT_TRUE(write_file_atomically(attempt_dir() / runner_file_name, to_json(file)));
    int token[2];
    ASSERT_EQ(::pipe2(token, O_CLOEXEC), 0);
    auto dir = attempt_dir().string();
    started_ = std::chrono::steady_clock::now();
    pid_ = ::fork();
    if (pid_ == 0) {
      ::dup2(token[0], 0);
      ::execl(MAYFLY_RUNNER, MAYFLY_RUNNER, "--dir", dir.c_str(), nullptr);
      ::_exit(127);
    }
    ::close(token[0]);
    ASSERT_EQ(::write(token[1], "boot-token", 10), 10);
    ::close(token[1]);
  }

  TempDir directory_;
  pid_t pid_ = -1;
  std::chrono::steady_clock::time_point started_;
};

TEST_F(RunnerProgram, RunsAJobInASandboxOnTheCommit) {
  auto job = job_of("cat file sub/f link; ./run.sh; git log -1 --format=%s; git status --porcelain; git remote get-url origin; touch new; id -u; echo $HOME; pwd");
  give_source(job);
  FakeServer server(job);
  ASSERT_EQ(run(server), 0);
  ASSERT_TRUE(server.finished());
  EXPECT_EQ(server.finished()->outcome, Outcome::success) << server.finished()->detail;
  EXPECT_EQ(server.log(), "hello\nmore\ndeep\nhello\nmore\nran\nsecond\nhttps://example.org/repo.git\n1000\n/home/mayfly\n/workspace\n");
  auto ended = read_small_file(attempt_dir() / ended_file_name);
  ASSERT_TRUE(ended);
  EXPECT_EQ(ended_file_from_json(*ended), (EndedFile{Reason::exit_code, ""}));
}

TEST_F(RunnerProgram, TheJobFindsNothingOfItsRunner) {
  FakeServer server(job_of(R"(
for d in /proc/[0-9]*; do tr '\0' '\n' < $d/environ 2>/dev/null | grep -i token || true; done
ls /proc/1/fd 2>&1 | head -1
cat /proc/1/cmdline | tr '\0' ' '; echo
kill -KILL 1; echo still $?
)"));
  ASSERT_EQ(run(server), 0);
  EXPECT_EQ(server.finished()->outcome, Outcome::success) << server.finished()->detail;
  EXPECT_THAT(server.log(), HasSubstr("ls: cannot open directory '/proc/1/fd': Permission denied\n"));
  EXPECT_THAT(server.log(), HasSubstr("still 0\n"));
  EXPECT_THAT(server.log(), testing::Not(HasSubstr("boot-token")));
}

TEST_F(RunnerProgram, SigtermCancelsTheJob) {
  FakeServer server(job_of("trap 'echo bye; exit 1' TERM; echo ready; while :; do sleep 0.05; done"));
  start(server);
  server.wait_for_log("ready\n");
  ::kill(pid_, SIGTERM);
  int status = 0;
  ASSERT_EQ(::waitpid(pid_, &status, 0), pid_);
  EXPECT_EQ(status, 0);
  ASSERT_TRUE(server.finished());
  EXPECT_EQ(server.finished()->outcome, Outcome::canceled);
  EXPECT_THAT(server.log(), HasSubstr("bye\n"));
}

TEST_F(RunnerProgram, MemoryHasItsLimitAndSaysSo) {
  FakeServer server(job_of("head -c 600m /dev/zero | tail"));
  ASSERT_EQ(run(server), 0);
  ASSERT_TRUE(server.finished());
  EXPECT_EQ(server.finished()->outcome, Outcome::failure);
  EXPECT_EQ(server.finished()->reason, Reason::oom) << server.finished()->detail;
}

TEST_F(RunnerProgram, IsQuick) {
  auto job = job_of("echo first");
  give_source(job);
  FakeServer server(job);
  start(server);
  server.wait_for_log("first\n");
  auto first = std::chrono::steady_clock::now() - started_;
  int status = 0;
  ASSERT_EQ(::waitpid(pid_, &status, 0), pid_);
  auto all = std::chrono::steady_clock::now() - started_;
  auto ms = [](auto d) { return static_cast<int>(std::chrono::duration_cast<std::chrono::milliseconds>(d).count()); };
  RecordProperty("first_byte_ms", ms(first));
  RecordProperty("all_ms", ms(all));
  std::printf("first byte after %d ms, all after %d ms\n", ms(first), ms(all));
  EXPECT_LT(ms(first), 5000);
}

TEST(RunnerProgramAlone, RefusesToRunWithoutItsFiles) {
  EXPECT_EQ(WEXITSTATUS(::system(MAYFLY_RUNNER " 2>/dev/null </dev/null")), 2);
  EXPECT_EQ(WEXITSTATUS(::system(MAYFLY_RUNNER " --dir /nonexistent 2>/dev/null </dev/null")), 1);
}

}  // namespace
}  // namespace mayfly
