// Stories of a whole runner, with the real mayfly-init, in front of a server that can misbehave.
#include "runner/sidecar/sidecar.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "adapters/system/system_entropy.h"
#include "domain/logs/shipped.h"
#include "runner/sidecar/tar.h"
#include "runner/sidecar/testing/fake_server.h"
#include "runner/sidecar/testing/plain_sandbox.h"
#include "support/run.h"
#include "support/temp_dir.h"

namespace mayfly {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

/// A job whose steps are these scripts, without source.
RunnerJob job_of(std::vector<std::string> scripts) {
  RunnerJob job;
  job.spec.name = job.spec.base_name = "test";
  for (auto& script : scripts) {
    StepSpec step;
    step.name = "step " + std::to_string(job.spec.steps.size() + 1);
    step.run = script;
    job.spec.steps.push_back(step);
  }
  job.source.checkout.enabled = false;
  job.event.event = "push";
  return job;
}

class SidecarTest : public testing::Test {
 protected:
  /// Runs the runner to its end on this thread, and `meanwhile` on another.
  SidecarEnd run(FakeServer& server, std::function<void()> meanwhile = {}, RetryLimits limits = {}) {
    std::thread other(meanwhile ? meanwhile : [] {});
    auto end = run_here(server, limits);
    other.join();
    EXPECT_THAT(server.breaches(), IsEmpty());
    return end;
  }

  /// One with a commit, head_, in it.
  std::string make_repository() {
    auto script = "cd " + directory_.path().string() + " && export GIT_CONFIG_GLOBAL=/dev/null GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a"
                  " GIT_COMMITTER_EMAIL=a@b && git init -q -b main src && cd src && echo x > file && git add . && git commit -q -m x && git rev-parse HEAD > ../head";
    EXPECT_EQ(::system(script.c_str()), 0);
    std::ifstream(directory_.path() / "head") >> head_;
    return directory_.path() / "src";
  }

  /// What a shipper would bring from the file that the runner leaves it.
  std::string lines_of_log() const {
    std::string text;
    for (auto& file : std::filesystem::directory_iterator(log_files_)) {
      std::ifstream in(file.path(), std::ios::binary);
      for (std::string line; std::getline(in, line);) {
        auto shipped = decode_shipped(R"({"attempt":")" + file.path().stem().string() + "\"," + line.substr(1));
        if (!shipped || shipped->records.size() != 1 || shipped->records[0].offset != std::int64_t(text.size())) return "no line of ours: " + line;
        text += shipped->records[0].text;
      }
    }
    return text;
  }

  static void until(std::string_view what, std::function<bool()> holds) {
    for (int i = 0; i < 6000; ++i, ::usleep(5'000))
      if (holds()) return;
    ADD_FAILURE() << "never: " << what;
  }

  std::filesystem::path workspace() const { return directory_.path() / "workspace"; }

  TempDir directory_;
  PlainSandbox::Facts facts_;
  bool launch_fails_ = false;
  std::string log_files_;
  std::string head_;
  std::string urls_;
  bool launched_ = false;

 private:
  SidecarEnd run_here(FakeServer& server, RetryLimits limits) {
    TestLoop loop;
    SystemClock clock(loop.loop());
    SystemEntropy entropy;
    auto offload = make_thread_offload(1);
    http::Client client(loop.loop());
    RunnerSpec runner;
    runner.attempt = make_id<AttemptId>(clock, entropy);
    runner.boot_token = "boot-token";
    RunnerApi api(client, clock, entropy, urls_.empty() ? server.url() : urls_, runner.attempt, limits);
    SidecarSpec spec{.runner = runner, .sandbox = {.attempt = runner.attempt, .image = "host", .attempt_dir = directory_.path(), .init_path = MAYFLY_INIT}, .runner_id = "me", .log_files = log_files_};
    auto launch = [&](Loop, SandboxSpec what) -> Task<Result<std::unique_ptr<Sandbox>>> {
      launched_ = true;
      if (launch_fails_) co_return fail(Errc::not_found, "no such image: nowhere");
      co_return std::make_unique<PlainSandbox>(clock, what, facts_);
    };
    Sidecar sidecar(loop.loop(), clock, *offload, api, launch, std::move(spec));
    return loop.run(sidecar.run());
  }
};

TEST_F(SidecarTest, RunsAJobAndTellsTheServerAllOfIt) {
  auto job = job_of({"echo hello; echo v=1 >> $CI_OUTPUT", "echo $TOKEN $CI_BUILD_ID"});
  job.env = {{"CI_BUILD_ID", "b1"}};
  job.secrets = {{"TOKEN", "hunter2"}};
  FakeServer server(job);
  auto end = run(server);
  EXPECT_EQ(end.reason, Reason::exit_code);
  auto report = server.finished();
  ASSERT_TRUE(report);
  EXPECT_EQ(report->outcome, Outcome::success);
  EXPECT_EQ(report->reason, Reason::none);
  EXPECT_EQ(report->outputs, (std::map<std::string, std::string>{{"v", "1"}}));
  EXPECT_EQ(server.log(), "hello\n*** b1\n");
  EXPECT_EQ(report->log_bytes, 13);
  ASSERT_EQ(report->steps.size(), 2u);
  EXPECT_EQ(report->steps[1].name, "step 2");
  EXPECT_EQ(report->steps[1].status, StepStatus::succeeded);
  EXPECT_EQ(report->steps[1].log_start, 6);
  EXPECT_EQ(server.boot_token(), "boot-token");
  EXPECT_EQ(server.finishes(), 1);
}

TEST_F(SidecarTest, WhatIsSaidBeforeTheFirstStepIsTheLogsBeginning) {
  facts_.says = "pulling debian:12";
  FakeServer server(job_of({"echo hello"}));
  run(server);
  ASSERT_TRUE(server.finished());
  EXPECT_EQ(server.log(), "mayfly: pulling debian:12\nhello\n");
  EXPECT_EQ(server.finished()->log_bytes, 32);
  EXPECT_EQ(server.finished()->steps[0].log_start, 26);
}

TEST_F(SidecarTest, AServiceThatIsNeverReadyFailsTheAttemptBeforeItsFirstStep) {
  facts_.service_not_ready = {.name = "db", .what = "the service 'db' was not ready within 5m", .last_lines = {"starting", "password hunter2"}};
  auto job = job_of({"echo never"});
  job.secrets = {{"TOKEN", "hunter2"}};
  FakeServer server(job);
  run(server);
  auto report = server.finished();
  ASSERT_TRUE(report);
  EXPECT_EQ(report->outcome, Outcome::failure);
  EXPECT_EQ(report->reason, Reason::service);
  EXPECT_EQ(report->detail, "the service 'db' was not ready within 5m");
  EXPECT_EQ(report->steps[0].status, StepStatus::skipped);
  EXPECT_EQ(server.log(), "mayfly: the service 'db' was not ready within 5m\nmayfly: the last lines of the service 'db':\nmayfly:   db | starting\nmayfly:   db | password ***\n");
}

TEST_F(SidecarTest, AServicesImageThatIsAwayIsTriedAgain) {
  facts_.service_not_ready = {.name = "db", .reason = Reason::image_pull, .again = true, .what = "the registry is away"};
  FakeServer server(job_of({"echo never"}));
  run(server);
  ASSERT_TRUE(server.finished());
  EXPECT_EQ(server.finished()->outcome, Outcome::infrastructure);
  EXPECT_EQ(server.finished()->reason, Reason::image_pull);
}

TEST_F(SidecarTest, AServiceThatEndsStopsTheJobAndItsFinallyStepsStillRun) {
  facts_.service_ends = {.name = "db", .what = "the service 'db' exited with 1 while the job ran", .last_lines = {"panic"}};
  facts_.service_ends_at = workspace() / "gone";
  auto job = job_of({"touch gone; sleep 1000", "echo notified"});
  job.spec.steps[1].finally = true;
  FakeServer server(job);
  run(server);
  auto report = server.finished();
  ASSERT_TRUE(report);
  EXPECT_EQ(report->outcome, Outcome::failure);
  EXPECT_EQ(report->reason, Reason::service);
  EXPECT_EQ(report->detail, "the service 'db' exited with 1 while the job ran");
  EXPECT_EQ(server.log(), "mayfly: the service 'db' exited with 1 while the job ran\nnotified\nmayfly: the last lines of the service 'db':\nmayfly:   db | panic\n");
}

TEST_F(SidecarTest, TellsWhichStepFailed) {
  FakeServer server(job_of({"exit 3", "echo no"}));
  run(server);
  auto report = server.finished();
  ASSERT_TRUE(report);
  EXPECT_EQ(report->outcome, Outcome::failure);
  EXPECT_EQ(report->reason, Reason::exit_code);
  EXPECT_EQ(report->detail, "step 'step 1' ended with exit code 3");
  EXPECT_EQ(report->exit_code, 3);
  EXPECT_EQ(report->steps[1].status, StepStatus::skipped);
}

TEST_F(SidecarTest, ASecondRunnerLeavesAtOnce) {
  FakeServer server(job_of({"echo no"}));
  server.refuse_start();
  auto end = run(server);
  EXPECT_EQ(end.reason, Reason::exit_code);
  EXPECT_THAT(end.detail, HasSubstr("another runner was first"));
  EXPECT_FALSE(server.finished());
  EXPECT_EQ(server.log(), "");
  EXPECT_TRUE(std::filesystem::is_empty(workspace()));
}

TEST_F(SidecarTest, NeverUsesALogFileTwice) {
  std::ofstream(directory_.path() / "log") << "of another";
  FakeServer server(job_of({"echo no"}));
  auto end = run(server);
  EXPECT_THAT(end.detail, HasSubstr("File exists"));
  EXPECT_FALSE(launched_);
}

TEST_F(SidecarTest, AsksTheExpressionsOfStepsHere) {
  auto job = job_of({"exit 1", "echo after failure", "echo never", "echo pushed", "echo at last", "echo not at last"});
  job.spec.steps[1].condition = "failure() && needs.build.outputs.tag == 'v1'";
  job.spec.steps[2].condition = "matrix.db == 'x'";
  job.spec.steps[3].condition = "always() && event == 'push' && env.LEVEL == '9'";
  job.spec.steps[3].env = {{"LEVEL", "9"}};
  job.spec.steps[4].finally = job.spec.steps[5].finally = true;
  job.spec.steps[4].condition = "event == 'push'";
  job.spec.steps[5].condition = "success()";
  job.needs = {{.name = "build", .status = "succeeded", .outputs = {{"tag", "v1"}}}};
  FakeServer server(job);
  run(server);
  EXPECT_EQ(server.log(), "after failure\npushed\nat last\n");
}

TEST_F(SidecarTest, ReportsStepsWhileTheyRun) {
  FakeServer server(job_of({"while ! [ -e go ]; do sleep 0.01; done"}));
  run(server, [&] {
    for (int i = 0; i < 3000 && server.reports().empty(); ++i) std::this_thread::sleep_for(5ms);
    ASSERT_FALSE(server.reports().empty());
    EXPECT_EQ(server.reports()[0].steps[0].status, StepStatus::running);
    std::ofstream(workspace() / "go");
  });
  EXPECT_EQ(server.finished()->outcome, Outcome::success);
}

TEST_F(SidecarTest, BringsLogBytesWhileTheyAreWritten) {
  FakeServer server(job_of({"echo one; while ! [ -e go ]; do sleep 0.01; done; echo two"}));
  run(server, [&] {
    server.wait_for_log("one\n");
    std::ofstream(workspace() / "go");
  });
  EXPECT_EQ(server.log(), "one\ntwo\n");
}

TEST_F(SidecarTest, CancelReachesTheSteps) {
  FakeServer server(job_of({"trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.01; done", "echo no"}));
  auto begin = std::chrono::steady_clock::now();
  run(server, [&] {
    server.wait_for_log("ready\n");
    server.cancel(5000);
  });
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 20s);
  auto report = server.finished();
  ASSERT_TRUE(report);
  EXPECT_EQ(report->outcome, Outcome::canceled);
  EXPECT_EQ(report->reason, Reason::canceled);
  EXPECT_THAT(server.log(), HasSubstr("bye\n"));
  EXPECT_EQ(report->steps[1].status, StepStatus::skipped);
}

TEST_F(SidecarTest, ACanceledJobKeepsNothingButItsLastWords) {
  auto job = job_of({"touch a; trap 'echo bye; sleep 0.3; exit 1' TERM; echo ready; while :; do sleep 0.01; done"});
  job.spec.artifacts.paths = {"a"};
  job.spec.artifacts.when = ArtifactsWhen::always;
  FakeServer server(job);
  run(server, [&] {
    server.wait_for_log("ready\n");
    server.cancel(5000);
  });
  ASSERT_TRUE(server.finished());
  EXPECT_EQ(server.finished()->outcome, Outcome::canceled);
  EXPECT_THAT(server.log(), HasSubstr("bye\n"));
  EXPECT_THAT(server.uploads(), IsEmpty());
}

TEST_F(SidecarTest, ACancelBeforeTheFirstStepMeansThatNothingRuns) {
  auto job = job_of({"echo no"});
  job.needs = {{.name = "build", .status = "succeeded", .artifacts = {{.id = "late", .kind = "artifact", .path = "late", .size = 1, .sha256 = ""}}}};
  FakeServer server(job);
  server.hold_downloads();
  run(server, [&] {
    while (!server.downloads_asked()) std::this_thread::sleep_for(1ms);
    server.cancel(1000);
  });
  auto report = server.finished();
  ASSERT_TRUE(report);
  EXPECT_EQ(report->outcome, Outcome::canceled);
  EXPECT_THAT(server.log(), Not(HasSubstr("no\n")));
}

TEST_F(SidecarTest, AFencedAttemptIsKilledAndSaysNothingMore) {
  FakeServer server(job_of({"echo ready; sleep 600"}));
  SidecarEnd end = run(server, [&] {
    server.wait_for_log("ready\n");
    server.fence();
  });
  EXPECT_EQ(end.reason, Reason::exit_code);
  EXPECT_THAT(end.detail, HasSubstr("another attempt is current"));
  EXPECT_FALSE(server.finished());
}

TEST_F(SidecarTest, LivesThroughAServerThatIsAwayForAWhileAndForgets) {
  FakeServer server(job_of({"i=0; while ! [ -e stop ]; do i=$((i+1)); echo line $i; sleep 0.002; done; echo last"}));
  server.keep_in_memory();
  run(server, [&] {
    for (int round = 0; round < 3; ++round) {
      server.wait_for_log("line " + std::to_string(20 * (round + 1)) + "\n");
      server.down();
      server.forget();
      std::this_thread::sleep_for(300ms);
      server.up();
    }
    std::ofstream(workspace() / "stop");
  });
  auto report = server.finished();
  ASSERT_TRUE(report);
  EXPECT_EQ(report->outcome, Outcome::success);
  EXPECT_EQ(report->log_bytes, static_cast<std::int64_t>(server.log().size()));
  std::string expected;
  for (int i = 1; expected.size() + 5 < server.log().size(); ++i) expected += "line " + std::to_string(i) + "\n";
  EXPECT_EQ(server.log(), expected + "last\n");
  EXPECT_GT(server.rewinds(), 0);
}

TEST_F(SidecarTest, GoesToAnotherGatewayWhenOneDoesNotAnswer) {
  FakeServer server(job_of({"i=0; while ! [ -e stop ]; do i=$((i+1)); echo line $i; sleep 0.002; done; echo last"}));
  server.second_up();
  urls_ = server.url() + "/," + server.second_url();
  auto began = std::chrono::steady_clock::now();
  run(server, [&] {
    server.wait_for_log("line 20\n");
    server.down();
    server.wait_for_log("line 200\n");
    server.up();
    server.second_down();
    server.wait_for_log("line 400\n");
    std::ofstream(workspace() / "stop");
  }, {.first_pause = 60s, .longest_pause = 60s});
  EXPECT_LT(std::chrono::steady_clock::now() - began, 60s) << "it does not pause while there is another";
  auto report = server.finished();
  ASSERT_TRUE(report);
  EXPECT_EQ(report->outcome, Outcome::success);
  EXPECT_EQ(report->log_bytes, static_cast<std::int64_t>(server.log().size()));
  EXPECT_TRUE(server.log().ends_with("last\n"));
}

TEST_F(SidecarTest, ADeadMachineCostsAQuarterOfASecondOfLog) {
  FakeServer server(job_of({"i=0; while ! [ -e stop ]; do echo $(date +%s%3N); sleep 0.01; done"}));
  std::vector<std::int64_t> late;
  run(server, [&] {
    server.wait_for_log("\n");
    for (int look = 0; look < 20; ++look, std::this_thread::sleep_for(20ms)) {
      auto log = server.log();
      auto end = log.rfind('\n'), begin = log.rfind('\n', end - 1);
      auto now = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
      late.push_back(now - std::stoll(log.substr(begin + 1, end - begin - 1)));
    }
    std::ofstream(workspace() / "stop");
  });
  std::ranges::sort(late);
  EXPECT_LE(late[late.size() / 2], log_bytes_at_risk / 1ms) << "what the server has is at most so old";
}

TEST_F(SidecarTest, ALogThatFellSilentIsAskedFor) {
  FakeServer server(job_of({"echo once; while ! [ -e stop ]; do sleep 0.01; done"}));
  server.lose_when_silent();
  run(server, [&] {
    server.wait_for_log("once\n");
    std::ofstream(workspace() / "stop");
  });
  EXPECT_EQ(server.log(), "once\n");
}

TEST_F(SidecarTest, SendsTheLogAgainToAServerThatForgotItAtTheEnd) {
  FakeServer server(job_of({"for i in 1 2 3; do echo line $i; sleep 0.03; done"}));
  server.keep_in_memory();
  server.forget_at_finish();
  run(server);
  ASSERT_TRUE(server.finished());
  EXPECT_EQ(server.finished()->outcome, Outcome::success);
  EXPECT_EQ(server.log(), "line 1\nline 2\nline 3\n");
}

TEST_F(SidecarTest, LeavesTheLogToAnotherShipperAndBringsWhatThatOneHasNot) {
  log_files_ = directory_.path() / "lines";
  std::filesystem::create_directory(log_files_);
  auto go_on = directory_.path() / "go_on";
  FakeServer server(job_of({"printf 'one\\n\\n\\377'; until [ -e " + go_on.string() + " ]; do sleep 0.01; done; echo two"}));
  run(server, [&] {
    until("a line is there to be shipped", [&] { return lines_of_log().size() > 5; });
    EXPECT_EQ(server.log(), "") << "it is another's to ship";
    std::ofstream(go_on) << "";
  });
  ASSERT_TRUE(server.finished());
  EXPECT_EQ(server.log(), "one\n\n\377two\n");
  EXPECT_EQ(server.finished()->log_bytes, 10);
  EXPECT_EQ(lines_of_log(), server.log());
}

TEST_F(SidecarTest, ShipsTheLogItselfWhereItCannotBeLeft) {
  log_files_ = directory_.path() / "nowhere";
  FakeServer server(job_of({"echo hello"}));
  run(server);
  EXPECT_EQ(server.log(), "hello\n");
}

TEST_F(SidecarTest, SubmodulesAreAStepOfOursThatTheServerDoesNotCount) {
  auto job = job_of({"echo no"});
  job.source = {.repository = make_repository(), .sha = head_, .ref = "refs/heads/main", .checkout = {.submodules = true}};
  job.spec.steps[0].run = "git submodule status | wc -l";
  FakeServer server(job);
  run(server);
  ASSERT_TRUE(server.finished());
  EXPECT_EQ(server.finished()->outcome, Outcome::success) << server.log();
  EXPECT_EQ(server.log(), "0\n");
  ASSERT_EQ(server.finished()->steps.size(), 1u);
  EXPECT_EQ(server.finished()->steps[0].name, "step 1");
}

TEST_F(SidecarTest, RepeatsEveryCallThatStumbles) {
  auto job = job_of({"echo x > file; echo hello"});
  job.spec.artifacts.paths = {"file"};
  FakeServer server(job);
  server.stumble(6);
  run(server, [&] {
    server.wait_for_log("hello\n");
    server.stumble(5);
  });
  ASSERT_TRUE(server.finished());
  EXPECT_EQ(server.finished()->outcome, Outcome::success);
  EXPECT_EQ(server.log(), "hello\n");
}

TEST_F(SidecarTest, GivesUpOnAServerThatNeverComesBack) {
  FakeServer server(job_of({"echo ready; sleep 600"}));
  auto end = run(server, [&] {
    server.wait_for_log("ready\n");
    server.down();
  }, {.give_up_after = 1s});
  EXPECT_EQ(end.reason, Reason::runner_lost);
  EXPECT_THAT(end.detail, HasSubstr("the server did not answer for"));
}

TEST_F(SidecarTest, SaysThatASandboxCouldNotBeStarted) {
  launch_fails_ = true;
  FakeServer server(job_of({"echo no"}));
  run(server);
  auto report = server.finished();
  ASSERT_TRUE(report);
  EXPECT_EQ(report->outcome, Outcome::failure) << "it will not be there at the next try either";
  EXPECT_EQ(report->reason, Reason::image_pull);
  EXPECT_EQ(report->detail, "the job's sandbox could not be started: no such image: nowhere");
  EXPECT_EQ(server.log(), "mayfly: " + report->detail + "\n");
}

TEST_F(SidecarTest, SaysThatTheNetworkIsNotThere) {
  facts_.no_network = true;
  FakeServer server(job_of({"echo no"}));
  run(server);
  ASSERT_TRUE(server.finished());
  EXPECT_EQ(server.finished()->outcome, Outcome::infrastructure);
  EXPECT_EQ(server.finished()->detail, "the job's network did not come up: no network today");
}

TEST_F(SidecarTest, SaysThatTheSourceIsNotThere) {
  auto job = job_of({"echo no"});
  job.source = {.repository = directory_.path() / "nowhere.git", .sha = std::string(40, 'a'), .ref = "refs/heads/main", .checkout = {}};
  FakeServer server(job);
  run(server);
  auto report = server.finished();
  ASSERT_TRUE(report);
  EXPECT_EQ(report->outcome, Outcome::infrastructure);
  EXPECT_EQ(report->reason, Reason::source);
  EXPECT_THAT(report->detail, HasSubstr("the workspace could not be prepared: git fetch: "));
}

TEST_F(SidecarTest, CallsOutOfMemoryByItsName) {
  facts_.out_of_memory = true;
  FakeServer server(job_of({"kill -KILL $$"}));
  run(server);
  auto report = server.finished();
  ASSERT_TRUE(report);
  EXPECT_EQ(report->outcome, Outcome::failure);
  EXPECT_EQ(report->reason, Reason::oom);
  EXPECT_THAT(report->detail, HasSubstr("ran out of memory"));
}

TEST_F(SidecarTest, AJobThatKillsItsInitIsLostAndSaidSo) {
  FakeServer server(job_of({"echo ready; while ! [ -e go ]; do sleep 0.01; done; kill -KILL $PPID; sleep 5"}));
  run(server, [&] {
    server.wait_for_log("ready\n");
    std::ofstream(workspace() / "go");
  });
  auto report = server.finished();
  ASSERT_TRUE(report);
  EXPECT_EQ(report->outcome, Outcome::infrastructure);
  EXPECT_EQ(report->reason, Reason::runner_lost);
  EXPECT_THAT(server.log(), HasSubstr("ready\nmayfly: the sandbox ended before the job did"));
}

TEST_F(SidecarTest, StoresArtifactsAndOutputsAndSaysWhatIsMissing) {
  auto job = job_of({"mkdir -p build/sub; echo a > build/a.txt; echo b > build/sub/b.bin; echo c > c.txt; ln -s /etc/passwd build/evil; ln -s a.txt build/good"});
  job.spec.artifacts.paths = {"build", "*.txt", "missing/**"};
  job.spec.outputs = {"build/"};
  FakeServer server(job);
  run(server);
  ASSERT_EQ(server.finished()->outcome, Outcome::success);
  std::map<std::string, std::string> artifacts;
  std::string tar;
  for (auto& upload : server.uploads())
    if (upload.kind == "outputs") tar = upload.bytes;
    else artifacts[upload.path] = upload.bytes;
  EXPECT_EQ(artifacts, (std::map<std::string, std::string>{{"build/a.txt", "a\n"}, {"build/good", "a\n"}, {"build/sub/b.bin", "b\n"}, {"c.txt", "c\n"}}));
  EXPECT_THAT(tar, Not(IsEmpty()));
  EXPECT_THAT(server.log(), HasSubstr("mayfly: artifacts: 'missing/**' matches nothing in the workspace\n"));
  EXPECT_THAT(server.log(), HasSubstr("mayfly: artifacts: cannot open 'build/evil': it leads out of the workspace; it is left out\n"));
  EXPECT_THAT(server.log(), HasSubstr("mayfly: outputs: 'build/evil' is no file inside the workspace; it is left out\n"));
}

/// Large enough to go to the store by itself.
RunnerJob job_with_a_large_artifact() {
  auto job = job_of({"head -c 400000 /dev/zero > large; echo s > small"});
  job.spec.artifacts.paths = {"large", "small"};
  return job;
}

TEST_F(SidecarTest, LargeArtifactsGoToTheStoreItself) {
  FakeServer server(job_with_a_large_artifact());
  server.keep_blobs_apart();
  run(server);
  ASSERT_EQ(server.finished()->outcome, Outcome::success);
  EXPECT_EQ(server.direct_uploads(), 1);
  ASSERT_EQ(server.uploads().size(), 2u);
  EXPECT_EQ(server.uploads()[0].path, "large");
  EXPECT_EQ(server.uploads()[0].bytes, std::string(400'000, '\0'));
}

TEST_F(SidecarTest, AStoreThatStumblesIsAskedAgain) {
  FakeServer server(job_with_a_large_artifact());
  server.keep_blobs_apart();
  server.store_stumbles(2);
  run(server);
  EXPECT_EQ(server.direct_uploads(), 1);
  EXPECT_EQ(server.uploads().size(), 2u);
}

TEST_F(SidecarTest, ArtifactsGoThroughTheServerWhereTheStoreIsOutOfReach) {
  FakeServer server(job_with_a_large_artifact());
  server.keep_blobs_apart();
  server.store_stumbles(1000);
  run(server);
  ASSERT_EQ(server.finished()->outcome, Outcome::success);
  EXPECT_EQ(server.direct_uploads(), 0);
  ASSERT_EQ(server.uploads().size(), 2u);
  EXPECT_EQ(server.uploads()[0].bytes.size(), 400'000u);
}

TEST_F(SidecarTest, WhatNeededJobsLeftComesFromTheStoreItself) {
  auto job = job_of({"cat note"});
  job.needs = {{.name = "build", .status = "succeeded", .artifacts = {{.id = "n", .kind = "artifact", .path = "note", .size = 5, .sha256 = to_hex(sha256("note\n"))}}}};
  FakeServer server(job);
  server.provide("n", "note\n");
  server.keep_blobs_apart();
  run(server);
  EXPECT_EQ(server.log(), "note\n");
  EXPECT_EQ(server.direct_downloads(), 1);
}

TEST_F(SidecarTest, WhatNeededJobsLeftComesThroughTheServerWhereTheStoreIsOutOfReach) {
  auto job = job_of({"cat note"});
  job.needs = {{.name = "build", .status = "succeeded", .artifacts = {{.id = "n", .kind = "artifact", .path = "note", .size = 5, .sha256 = to_hex(sha256("note\n"))}}}};
  FakeServer server(job);
  server.provide("n", "note\n");
  server.keep_blobs_apart();
  server.store_stumbles(1000);
  run(server);
  EXPECT_EQ(server.log(), "note\n");
  EXPECT_EQ(server.direct_downloads(), 0);
}

TEST_F(SidecarTest, KeepsArtifactsOfAFailureOnlyWhenAsked) {
  auto job = job_of({"echo a > a.txt; exit 1"});
  job.spec.artifacts.paths = {"a.txt"};
  FakeServer no(job);
  run(no);
  EXPECT_THAT(no.uploads(), IsEmpty());
  std::filesystem::remove(directory_.path() / "log");
  job.spec.artifacts.when = ArtifactsWhen::always;
  FakeServer yes(job);
  run(yes);
  EXPECT_EQ(yes.uploads().size(), 1u);
}

TEST_F(SidecarTest, AnArtifactThatIsRefusedFailsTheJobInPlainWords) {
  auto job = job_of({"echo a > a.txt"});
  job.spec.artifacts.paths = {"a.txt"};
  FakeServer server(job);
  server.refuse_uploads();
  run(server);
  EXPECT_EQ(server.finished()->outcome, Outcome::failure);
  EXPECT_EQ(server.finished()->detail, "the artifacts could not be stored: the project has no space left");
}

TEST_F(SidecarTest, BringsWhatNeededJobsLeft) {
  auto tar_path = directory_.path() / "t.tar";
  ASSERT_EQ(::system(("cd " + directory_.path().string() + " && mkdir -p s/out && echo built > s/out/app && tar cf t.tar -C s out").c_str()), 0);
  std::ifstream in(tar_path, std::ios::binary);
  std::string tar{std::istreambuf_iterator<char>(in), {}};
  auto hex = [](std::string_view bytes) { return to_hex(sha256(bytes)); };
  auto job = job_of({"cat out/app docs/note"});
  job.needs = {{.name = "build", .status = "succeeded",
                .artifacts = {{.id = "t", .kind = "outputs", .path = "outputs.tar", .size = std::int64_t(tar.size()), .sha256 = hex(tar)},
                              {.id = "n", .kind = "artifact", .path = "docs/note", .size = 5, .sha256 = hex("note\n")}}}};
  FakeServer server(job);
  server.provide("t", tar);
  server.provide("n", "note\n");
  run(server);
  EXPECT_EQ(server.log(), "built\nnote\n");
}

TEST_F(SidecarTest, RefusesAnArtifactThatIsNotWhatWasStored) {
  auto job = job_of({"echo no"});
  job.needs = {{.name = "build", .status = "succeeded", .artifacts = {{.id = "n", .kind = "artifact", .path = "note", .size = 5, .sha256 = to_hex(sha256("note\n"))}}}};
  FakeServer server(job);
  server.provide("n", "nope\n");
  run(server);
  EXPECT_EQ(server.finished()->outcome, Outcome::infrastructure);
  EXPECT_THAT(server.finished()->detail, HasSubstr("'note' is not what was stored: its digest differs"));
}

TEST_F(SidecarTest, SumsUpJUnitFilesAndMasksThem) {
  auto job = job_of({R"(echo '<testsuite name="s"><testcase name="a" time="0.5"/><testcase name="b"><failure message="got hunter2"/></testcase></testsuite>' > out.xml; exit 1)"});
  job.secrets = {{"TOKEN", "hunter2"}};
  job.spec.junit = {"*.xml"};
  FakeServer server(job);
  run(server);
  EXPECT_EQ(server.finished()->tests, (TestReport{.tests = 2, .failures = 1, .errors = 0, .skipped = 0, .time_ms = 500, .failed = {{.suite = "s", .name = "b", .message = "got ***"}}}));
}

}  // namespace
}  // namespace mayfly
