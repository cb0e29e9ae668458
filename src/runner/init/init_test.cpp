// Stories of mayfly-init, told with the real program.
#include <gmock/gmock.h>
#include <sys/stat.h>

#include <random>

#include "runner/init/init_under_test.h"
#include "runner/init/log_writer.h"

namespace mayfly {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

std::vector<StepStatus> statuses(const InitUnderTest& init) {
  std::vector<StepStatus> out;
  for (auto& s : init.states()) out.push_back(s.status);
  return out;
}

std::string shell_marker(std::string_view what) { return "sleep 4242." + std::string(what) + std::to_string(::getpid()); }

class Init : public testing::Test {
 protected:
  InitUnderTest init{MAYFLY_INIT};
};

TEST_F(Init, RunsStepsOneAfterAnotherInOneWorkspace) {
  init.send(InitJob{.steps = {{.name = "one", .run = "echo first; echo data > file"}, {.name = "two", .run = "cat file; pwd"}}});
  auto done = init.done();
  ASSERT_TRUE(done);
  EXPECT_EQ(done->outcome, Outcome::success);
  EXPECT_EQ(done->exit_code, std::nullopt);
  EXPECT_EQ(init.log(), "first\ndata\n" + init.workspace().string() + "\n");
  EXPECT_EQ(done->log_bytes, static_cast<std::int64_t>(init.log().size()));
  EXPECT_THAT(statuses(init), ElementsAre(StepStatus::succeeded, StepStatus::succeeded));
  EXPECT_EQ(init.states()[0].log_start, 0);
  EXPECT_EQ(init.states()[0].log_end, 6);
  EXPECT_EQ(init.states()[1].log_start, 6);
  EXPECT_EQ(init.states()[1].log_end, done->log_bytes);
  EXPECT_EQ(init.states()[0].exit_code, 0);
  EXPECT_GE(*init.states()[1].start_time, *init.states()[0].end_time);
  EXPECT_EQ(init.exit_code(), 0);
  EXPECT_TRUE(std::filesystem::is_empty(init.tmp())) << "nothing is left in TMPDIR";
}

TEST_F(Init, StopsAtTheFirstFailureAndSaysWhich) {
  init.send(InitJob{.steps = {{.name = "test", .run = "false\necho not reached"}, {.name = "deploy", .run = "echo no"}, {.name = "tell", .run = "echo finally", .finally = true}}});
  auto done = init.done();
  ASSERT_TRUE(done);
  EXPECT_EQ(done->outcome, Outcome::failure);
  EXPECT_EQ(done->exit_code, 1);
  EXPECT_EQ(done->detail, "step 'test' ended with exit code 1");
  EXPECT_EQ(init.log(), "finally\n");
  EXPECT_THAT(statuses(init), ElementsAre(StepStatus::failed, StepStatus::skipped, StepStatus::succeeded));
}

TEST_F(Init, AFailingFinallyStepFailsTheJob) {
  init.send(InitJob{.steps = {{.name = "ok", .run = "true"}, {.name = "tell", .run = "exit 3", .finally = true}}});
  auto done = init.done();
  ASSERT_TRUE(done);
  EXPECT_EQ(done->outcome, Outcome::failure);
  EXPECT_EQ(done->detail, "step 'tell' ended with exit code 3");
}

TEST_F(Init, AsksForConditionsAndSkipsWhatTheySay) {
  init.send(InitJob{.steps = {{.name = "a", .run = "echo FLAG=yes >> $CI_ENV; echo v=1 >> $CI_OUTPUT; exit 1"},
                              {.name = "b", .run = "echo b", .condition = "failure()"},
                              {.name = "c", .run = "echo c", .condition = "success()"},
                              {.name = "d", .run = "echo d", .condition = "nonsense("}},
                    .env = {{"BASE", "1"}},
                    .secrets = {{"TOKEN", "hunter2"}}});
  std::vector<AskCondition> asked;
  auto done = init.done([&](const AskCondition& ask) {
    asked.push_back(ask);
    return ConditionAnswer{.step = ask.step, .run = ask.step == 1, .error = ask.step == 3 ? "no such function" : ""};
  });
  ASSERT_TRUE(done);
  ASSERT_EQ(asked.size(), 3u);
  EXPECT_EQ(asked[0], (AskCondition{.step = 1, .so_far = JobSoFar::failure, .env = {{"BASE", "1"}, {"FLAG", "yes"}}, .outputs = {{"v", "1"}}}));
  EXPECT_THAT(statuses(init), ElementsAre(StepStatus::failed, StepStatus::succeeded, StepStatus::skipped, StepStatus::failed));
  EXPECT_EQ(init.log(), "b\nmayfly: step 'd' has an `if` that cannot be evaluated: no such function\n");
}

TEST_F(Init, GivesStepsTheirEnvironmentAndNothingOfItsOwn) {
  init.send(InitJob{.steps = {{.name = "env", .run = "env | sort | grep -v -e TMPDIR -e ^_= -e SHLVL -e OLDPWD", .shell = "sh", .env = {{"STEP", "s"}, {"OVER", "step"}}}},
                    .env = {{"CI", "true"}, {"OVER", "job"}, {"MULTI", "a b\nc"}}});
  ASSERT_TRUE(init.done());
  auto log = init.log();
  EXPECT_THAT(log, HasSubstr("CI=true\n"));
  EXPECT_THAT(log, HasSubstr("CI_WORKSPACE=" + init.workspace().string() + "\n"));
  EXPECT_THAT(log, HasSubstr("STEP=s\n"));
  EXPECT_THAT(log, HasSubstr("OVER=step\n"));
  EXPECT_THAT(log, HasSubstr("MULTI=a b\n"));
  EXPECT_THAT(log, HasSubstr("PATH=/usr/local/sbin:"));
  EXPECT_THAT(log, HasSubstr("HOME=" + init.tmp().string()));
  EXPECT_THAT(log, HasSubstr("CI_OUTPUT="));
  EXPECT_THAT(log, Not(HasSubstr("control")));
}

TEST_F(Init, NothingOfItsOwnIsReachableFromAStep) {
  init.send(InitJob{.steps = {{.name = "look", .run = R"(
ls -l /proc/self/fd | awk 'NR > 1 { print $9, $11 }' | grep -v /proc/ | sed 's/pipe:.*/pipe/'
)", .shell = "sh"}}});
  ASSERT_TRUE(init.done());
  EXPECT_EQ(init.log(), "0 /dev/null\n1 pipe\n2 pipe\n");
}

TEST_F(Init, HandsOnWhatStepsWriteToTheirFiles) {
  init.send(InitJob{.steps = {{.name = "write", .run = "echo A=1 >> $CI_ENV\nprintf 'NOTE<<E\\nx\\ny\\nE\\n' >> $CI_OUTPUT\necho tag=v1 >> $CI_OUTPUT\necho leak=hunter2 >> $CI_OUTPUT"},
                              {.name = "read", .run = "echo \"A is $A\"; echo tag=v2 > $CI_OUTPUT"}},
                    .secrets = {{"TOKEN", "hunter2"}}});
  auto done = init.done();
  ASSERT_TRUE(done);
  EXPECT_EQ(done->outputs, (std::map<std::string, std::string>{{"NOTE", "x\ny"}, {"tag", "v2"}}));
  EXPECT_EQ(init.log(), "mayfly: the output 'leak' holds a secret and is not handed on\nA is 1\n");
}

TEST_F(Init, RefusesOutputsItCannotRead) {
  init.send(InitJob{.steps = {{.name = "bad", .run = "echo nonsense > $CI_OUTPUT"}}});
  auto done = init.done();
  ASSERT_TRUE(done);
  EXPECT_EQ(done->outcome, Outcome::failure);
  EXPECT_EQ(done->detail, "step 'bad' wrote a $CI_OUTPUT that cannot be used: line 1: there is no '='");
}

TEST_F(Init, IsNotFooledByWhatReplacesTheOutputFile) {
  init.send(InitJob{.steps = {{.name = "gone", .run = "rm $CI_OUTPUT"},
                              {.name = "link", .run = "rm $CI_OUTPUT; ln -s /etc/passwd $CI_OUTPUT", .condition = "always()"},
                              {.name = "fifo", .run = "rm $CI_OUTPUT; mkfifo $CI_OUTPUT", .condition = "always()"},
                              {.name = "big", .run = "head -c 1048577 /dev/zero > $CI_OUTPUT", .condition = "always()"},
                              {.name = "most", .run = "(printf A=; head -c 1048573 /dev/zero | tr '\\0' x) > $CI_OUTPUT", .condition = "always()"},
                              {.name = "more", .run = "echo B=1 > $CI_OUTPUT", .condition = "always()"}}});
  auto done = init.done();
  ASSERT_TRUE(done);
  EXPECT_THAT(statuses(init), ElementsAre(StepStatus::succeeded, StepStatus::failed, StepStatus::failed, StepStatus::failed,
                                          StepStatus::succeeded, StepStatus::succeeded));
  EXPECT_THAT(init.log(), HasSubstr("step 'link' wrote a $CI_OUTPUT that cannot be used: it is no plain file any more"));
  EXPECT_THAT(init.log(), HasSubstr("it is over the limit of 1048576 bytes"));
  EXPECT_EQ(done->outputs.at("A").size(), max_step_output_bytes - 3);
}

TEST_F(Init, LimitsAllOutputsTogether) {
  auto half = "(printf 'KEY='; head -c 600000 /dev/zero | tr '\\0' x) > $CI_OUTPUT";
  auto with = [&](std::string key) { return std::string(half).replace(9, 3, key); };
  init.send(InitJob{.steps = {{.name = "one", .run = with("one")}, {.name = "two", .run = with("two")}}});
  auto done = init.done();
  ASSERT_TRUE(done);
  EXPECT_EQ(done->outputs.count("one"), 1u);
  EXPECT_EQ(done->outputs.count("two"), 0u);
  EXPECT_EQ(done->detail, "step 'two' brought the job's outputs over the limit of 1048576 bytes");
}

TEST_F(Init, EndsAStepThatTakesTooLong) {
  init.send(InitJob{.steps = {{.name = "slow", .run = "echo begun; exec " + shell_marker("1"), .timeout = 200ms}, {.name = "tell", .run = "echo told", .finally = true}}});
  auto done = init.done();
  ASSERT_TRUE(done);
  EXPECT_EQ(done->outcome, Outcome::timeout);
  EXPECT_EQ(done->detail, "step 'slow' timed out after 200ms");
  EXPECT_EQ(init.log(), "begun\nmayfly: step 'slow' timed out after 200ms\ntold\n");
  EXPECT_THAT(statuses(init), ElementsAre(StepStatus::failed, StepStatus::succeeded));
}

TEST_F(Init, KillsAStepThatIgnoresItsTimeout) {
  init.send(InitJob{.steps = {{.name = "deaf", .run = "trap '' TERM; echo begun; while :; do sleep 0.05; done", .timeout = 200ms}}, .term_grace = 300ms});
  auto begin = std::chrono::steady_clock::now();
  auto done = init.done();
  ASSERT_TRUE(done);
  EXPECT_EQ(done->outcome, Outcome::timeout);
  EXPECT_EQ(init.states()[0].exit_code, 128 + SIGKILL);
  EXPECT_GE(std::chrono::steady_clock::now() - begin, 500ms);
}

TEST_F(Init, EndsAJobThatTakesTooLongAndStillRunsFinally) {
  init.send(InitJob{.steps = {{.name = "slow", .run = shell_marker("2")}, {.name = "next", .run = "echo no"}, {.name = "tell", .run = "echo told", .finally = true}},
                    .timeout = 300ms, .term_grace = 300ms});
  auto done = init.done();
  ASSERT_TRUE(done);
  EXPECT_EQ(done->outcome, Outcome::timeout);
  EXPECT_EQ(done->detail, "the job timed out after 300ms");
  EXPECT_EQ(init.log(), "mayfly: the job timed out after 300ms\ntold\n");
  EXPECT_THAT(statuses(init), ElementsAre(StepStatus::failed, StepStatus::skipped, StepStatus::succeeded));
}

TEST_F(Init, CancelAsksNicelyFirst) {
  init.send(InitJob{.steps = {{.name = "polite", .run = "trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.05; done", .shell = "sh"}}});
  init.wait_for_log("ready");
  init.send(CancelJob{.grace = 30s});
  auto done = init.done();
  ASSERT_TRUE(done);
  EXPECT_EQ(done->outcome, Outcome::canceled);
  EXPECT_THAT(init.log(), testing::ContainsRegex("ready\nmayfly: the job was canceled\n(Terminated\n)?bye\n"));
  EXPECT_EQ(init.states()[0].status, StepStatus::canceled);
  EXPECT_EQ(init.states()[0].exit_code, 7);
}

TEST_F(Init, CancelKillsWhatIgnoresItAlsoInSessionsOfItsOwn) {
  auto marker = shell_marker("3");
  init.send(InitJob{.steps = {{.name = "deaf", .run = "trap '' TERM; (setsid setsid " + marker + " &) ; echo ready; while :; do sleep 0.05; done"},
                              {.name = "tell", .run = "echo told", .finally = true}}});
  init.wait_for_log("ready");
  init.send(CancelJob{.grace = 200ms});
  auto done = init.done();
  ASSERT_TRUE(done);
  EXPECT_EQ(done->outcome, Outcome::canceled);
  EXPECT_TRUE(nobody_runs(marker.substr(6)));
  EXPECT_THAT(statuses(init), ElementsAre(StepStatus::canceled, StepStatus::succeeded));
}

TEST_F(Init, FinallyCannotHoldUpACancel) {
  init.send(InitJob{.steps = {{.name = "run", .run = "echo ready; " + shell_marker("4")}, {.name = "stay", .run = "trap '' TERM; while :; do sleep 0.05; done", .finally = true},
                              {.name = "more", .run = "echo no", .finally = true}},
                    .finally_limit = 300ms});
  init.wait_for_log("ready");
  init.send(CancelJob{.grace = 100ms});
  auto done = init.done();
  ASSERT_TRUE(done);
  EXPECT_EQ(done->outcome, Outcome::canceled);
  EXPECT_THAT(statuses(init), ElementsAre(StepStatus::canceled, StepStatus::canceled, StepStatus::skipped));
}

TEST_F(Init, ASecondCancelEndsEverythingAtOnce) {
  init.send(InitJob{.steps = {{.name = "run", .run = "echo ready; " + shell_marker("5")}, {.name = "stay", .run = "echo staying; " + shell_marker("6"), .finally = true}}});
  init.wait_for_log("ready");
  init.send(CancelJob{.grace = 10s});
  init.wait_for_log("staying");
  init.send(CancelJob{});
  auto done = init.done();
  ASSERT_TRUE(done);
  EXPECT_EQ(done->outcome, Outcome::canceled);
}

TEST_F(Init, ACancelBeforeTheJobMeansThatNothingRuns) {
  init.send_raw(to_line(ToInit(CancelJob{})) + to_line(ToInit(InitJob{.steps = {{.name = "x", .run = "echo no"}}})));
  auto done = init.done();
  ASSERT_TRUE(done);
  EXPECT_EQ(done->outcome, Outcome::canceled);
  EXPECT_EQ(init.log(), "");
  EXPECT_EQ(init.exit_code(), 0);
}

TEST_F(Init, ASidecarThatDiesTakesTheJobWithIt) {
  auto marker = shell_marker("7");
  init.send(InitJob{.steps = {{.name = "run", .run = "(setsid " + marker + " &); echo ready; " + marker}}});
  init.wait_for_log("ready");
  EXPECT_FALSE(nobody_runs(marker.substr(6)));
  init.hang_up();
  EXPECT_EQ(init.exit_code(), 1);
  EXPECT_TRUE(nobody_runs(marker.substr(6)));
}

TEST_F(Init, BackgroundProcessesLiveUntilTheJobEndsAndNoLonger) {
  auto marker = shell_marker("8");
  init.send(InitJob{.steps = {{.name = "start", .run = "(setsid sh -c 'while ! [ -e go ]; do sleep 0.02; done; echo from the daemon; touch said; exec " + marker + "' &)"},
                              {.name = "use", .run = "touch go; while ! [ -e said ]; do sleep 0.02; done; echo used"}}});
  auto done = init.done();
  ASSERT_TRUE(done);
  EXPECT_EQ(done->outcome, Outcome::success);
  EXPECT_EQ(init.log(), "from the daemon\nused\n");
  EXPECT_EQ(init.frames()[0].step, 0);
  EXPECT_EQ(init.frames()[1].step, 1);
  EXPECT_TRUE(nobody_runs(marker.substr(6)));
}

TEST_F(Init, ReapsZombies) {
  init.send(InitJob{.steps = {{.name = "orphans", .run = "for i in $(seq 50); do (sh -c 'true &' &); done; sleep 0.3; ps -A -o ppid=,stat= | awk -v p=" + std::to_string(init.pid()) + " '$1 == p && $2 ~ /^Z/' | wc -l", .shell = "sh"}}});
  auto done = init.done();
  ASSERT_TRUE(done);
  EXPECT_EQ(init.log(), "0\n");
}

TEST_F(Init, KeepsOutputThatComesJustAfterTheStepHasEnded) {
  init.send(InitJob{.steps = {{.name = "late", .run = "echo all > >(sleep 0.03; cat)", .shell = "bash"}}});
  ASSERT_TRUE(init.done());
  EXPECT_EQ(init.log(), "all\n");
  EXPECT_EQ(init.states()[0].log_end, 4);
}

TEST_F(Init, KeepsEveryByteOfMuchOutput) {
  // 50 MB of noise, from a generator that both sides know.
  constexpr std::size_t size = 50 << 20;
  std::string expected(size, '\0');
  std::mt19937 engine(7);
  for (auto& c : expected) c = static_cast<char>(engine());
  std::ofstream(init.workspace() / "noise", std::ios::binary) << expected;
  init.send(InitJob{.steps = {{.name = "noise", .run = "cat noise"}}});
  auto done = init.done();
  ASSERT_TRUE(done);
  EXPECT_EQ(done->dropped_bytes, 0);
  EXPECT_TRUE(init.log() == expected) << "byte for byte";
}

TEST_F(Init, HidesSecretsHoweverTheyAreWritten) {
  init.send(InitJob{.steps = {{.name = "leak", .run = "printf hunt; sleep 0.1; printf 'er2\\n'; echo $TOKEN | base64; printf hun; echo hunter2 >&2; printf ter2; printf hunter"}},
                    .secrets = {{"SHORT", "abc"}, {"TOKEN", "hunter2"}}});
  ASSERT_TRUE(init.done());
  auto log = init.log();
  EXPECT_THAT(log, Not(HasSubstr("hunter2")));
  EXPECT_THAT(log, Not(HasSubstr("aHVudGVyMg")));
  EXPECT_THAT(log, HasSubstr("mayfly: the secret 'SHORT' is shorter than 4 characters and is not masked\n"));
  EXPECT_THAT(log, HasSubstr("***\n"));
}

TEST_F(Init, SaysHowMuchOutputItDropped) {
  init.send(InitJob{.steps = {{.name = "much", .run = "head -c 200000 /dev/zero | tr '\\0' x"}, {.name = "after", .run = "echo more"}}, .log_limit = log_reserve_bytes + 100'000});
  auto done = init.done();
  ASSERT_TRUE(done);
  EXPECT_EQ(done->outcome, Outcome::success);
  EXPECT_EQ(done->dropped_bytes, 100'005);
  EXPECT_THAT(init.log(), HasSubstr("x\nmayfly: the log has reached its limit of 165536 bytes; further output is not kept\n"));
  EXPECT_THAT(init.log(), testing::EndsWith("mayfly: 100005 bytes of output were not kept: the log's limit is 165536 bytes\n"));
}

TEST_F(Init, SuspectsMemoryWhenSomebodyElseKills) {
  init.send(InitJob{.steps = {{.name = "hog", .run = "kill -KILL $$"}}});
  auto done = init.done();
  ASSERT_TRUE(done);
  EXPECT_TRUE(done->killed);
  EXPECT_EQ(done->exit_code, 137);
  EXPECT_EQ(done->detail, "step 'hog' was killed (SIGKILL); perhaps out of memory");
}

TEST_F(Init, NamesTheSignalThatEndedAStep) {
  init.send(InitJob{.steps = {{.name = "crash", .run = "kill -SEGV $$"}}});
  auto done = init.done();
  ASSERT_TRUE(done);
  EXPECT_EQ(done->detail, "step 'crash' was ended by signal 11 (Segmentation fault)");
}

TEST_F(Init, UsesTheShellThatIsAskedFor) {
  init.send(InitJob{.steps = {{.name = "bash", .run = "false | true; [ -n \"$BASH_VERSION\" ] && echo bash"},
                              {.name = "pipefail", .run = "set -o | grep pipefail", .shell = "bash"},
                              {.name = "sh", .run = "echo ${BASH_VERSION:-plain}", .shell = "sh"},
                              {.name = "path", .run = "echo by path", .shell = "/bin/sh"},
                              {.name = "none", .run = "x", .shell = "fish"}}});
  auto done = init.done();
  ASSERT_TRUE(done);
  EXPECT_THAT(init.log(), testing::MatchesRegex("bash\npipefail +\t?on\nplain\nby path\nmayfly: step 'none' could not be started: the image has no 'fish'\n"));
}

TEST_F(Init, RunsScriptsOfAnySize) {
  std::string script = "# " + std::string(900'000, 'x') + "\necho long\n";
  init.send(InitJob{.steps = {{.name = "long", .run = script}}});
  ASSERT_TRUE(init.done());
  EXPECT_EQ(init.log(), "long\n");
}

TEST_F(Init, SaysThatAWorkspaceIsGone) {
  init.send(InitJob{.steps = {{.name = "rm", .run = "rm -rf \"$CI_WORKSPACE\""}, {.name = "next", .run = "true"}}});
  auto done = init.done();
  ASSERT_TRUE(done);
  EXPECT_EQ(done->outcome, Outcome::failure);
  EXPECT_EQ(done->exit_code, 127);
  EXPECT_THAT(init.log(), HasSubstr("mayfly: cannot run '" + init.workspace().string() + "': No such file or directory"));
}

TEST(InitProgram, RefusesToStartWithoutItsDescriptors) {
  EXPECT_EQ(WEXITSTATUS(::system(MAYFLY_INIT " 2>/dev/null")), 2);
  EXPECT_EQ(WEXITSTATUS(::system(MAYFLY_INIT " --control-fd 77 --log-fd 78 --workspace / 2>/dev/null")), 2);
}

TEST(StaticInit, RunsAJobWithNothingButItself) {
  InitUnderTest init(MAYFLY_STATIC_INIT);
  init.send(InitJob{.steps = {{.name = "one", .run = "echo $TOKEN and more"}}, .secrets = {{"TOKEN", "hunter2"}}});
  auto done = init.done();
  ASSERT_TRUE(done);
  EXPECT_EQ(done->outcome, Outcome::success);
  EXPECT_EQ(init.log(), "*** and more\n");
}

}  // namespace
}  // namespace mayfly
