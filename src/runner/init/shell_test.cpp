// Shells beside the steps of a job, told with the real mayfly-init.
#include "runner/init/shell.h"

#include <gmock/gmock.h>

#include "runner/init/init_under_test.h"

namespace mayfly {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::Not;

struct InitShells : testing::Test {
  InitUnderTest init{MAYFLY_INIT};
  std::string output, errors;
  std::int64_t taken = 0, received = 0;
  std::optional<ShellEnded> ended;
  std::optional<InitDone> done;
  std::vector<std::optional<Time>> holds;
  bool acknowledges = true;

  /// A job whose one step lasts until the workspace has a file `go`.
  void start(InitJob job = {}) {
    if (job.steps.empty()) job.steps = {{.name = "wait", .run = "echo begun\nwhile [ ! -e go ]; do sleep 0.02; done\n", .env = {{"OF_THE_STEP", "yes"}}}};
    init.send(std::move(job));
  }

  void open(ShellWish wish, std::int64_t number = 1) { init.send(OpenShell{.shell = number, .who = "ada", .wish = std::move(wish)}); }
  void type(std::string bytes) { init.send(ShellInput{.shell = 1, .bytes = std::move(bytes)}); }

  bool turn() {
    auto message = init.next();
    if (!message) return false;
    if (auto* m = std::get_if<ShellOutput>(&*message)) {
      (m->stream == ShellStream::err ? errors : output) += m->bytes;
      received += static_cast<std::int64_t>(m->bytes.size());
      if (acknowledges) init.send(ShellTaken{.shell = m->shell, .bytes = received});
    } else if (auto* t = std::get_if<ShellTaken>(&*message)) {
      taken = t->bytes;
    } else if (auto* e = std::get_if<ShellEnded>(&*message)) {
      ended = *e;
    } else if (auto* h = std::get_if<HoldChange>(&*message)) {
      holds.push_back(h->until);
    } else if (auto* d = std::get_if<InitDone>(&*message)) {
      done = *d;
    }
    return true;
  }
  void wait_for(std::string_view text) {
    while (output.find(text) == output.npos) ASSERT_TRUE(turn()) << "never said: " << text << "\nbut:\n" << output;
  }
  void wait_for_end() {
    while (!ended) ASSERT_TRUE(turn()) << "the shell never ended; it said:\n" << output;
  }
  void wait_for_done() {
    while (!done) ASSERT_TRUE(turn()) << "the job never ended";
  }
  void finish() {
    std::ofstream(init.workspace() / "go");
    wait_for_done();
    EXPECT_EQ(init.exit_code(), 0);
  }
};

TEST_F(InitShells, HasATerminalOfItsOwnTheWorkspaceAndTheStepsEnvironment) {
  std::ofstream(init.workspace() / "file") << "content";
  start({.steps = {}, .env = {{"OF_THE_JOB", "too"}}});
  open({.size = {101, 37}, .term = "vt100"});
  type("PS1='> '; tty; stty size; echo $OF_THE_STEP-$OF_THE_JOB-$TERM; cat file; echo; pwd; exit 7\n");
  wait_for_end();
  EXPECT_THAT(output, HasSubstr("/dev/pts/"));
  EXPECT_THAT(output, HasSubstr("37 101\r\n"));
  EXPECT_THAT(output, HasSubstr("yes-too-vt100\r\n"));
  EXPECT_THAT(output, HasSubstr("content\r\n"));
  EXPECT_THAT(output, HasSubstr(init.workspace().string() + "\r\n"));
  EXPECT_EQ(*ended, (ShellEnded{.shell = 1, .exit_code = 7}));
  finish();
  EXPECT_THAT(init.log(), HasSubstr("mayfly: a shell was opened by 'ada'\n"));
  EXPECT_THAT(init.log(), HasSubstr("mayfly: the shell of 'ada' was closed after "));
  EXPECT_EQ(done->outcome, Outcome::success) << "a shell's exit code is nobody's failure";
}

TEST_F(InitShells, FollowsTheWindowAndTakesInterrupts) {
  start();
  open({.size = {80, 24}, .command = {"sh", "-c", "trap 'stty size' WINCH; trap 'echo interrupted; exit 9' INT; echo ready; while :; do sleep 0.05; done"}});
  wait_for("ready\r\n");
  init.send(ShellResize{.shell = 1, .size = {132, 50}});
  wait_for("50 132\r\n");
  type("\x03");
  wait_for("interrupted\r\n");
  wait_for_end();
  EXPECT_EQ(ended->exit_code, 9);
  finish();
}

TEST_F(InitShells, WithoutATerminalStreamsAreApartAndInputEnds) {
  start();
  open({.tty = false, .command = {"sh", "-c", "cat; echo to-err >&2; test -t 0 || exit 3"}});
  type("gr\xC3\xBC\xC3\x9F\n");
  init.send(ShellInput{.shell = 1, .end = true});
  wait_for_end();
  EXPECT_EQ(output, "gr\xC3\xBC\xC3\x9F\n");
  EXPECT_EQ(errors, "to-err\n");
  EXPECT_EQ(ended->exit_code, 3);
  finish();
}

TEST_F(InitShells, NeverShowsASecretHoweverSlowlyItIsSaid) {
  start({.steps = {}, .secrets = {{"TOKEN", "hunter2-hunter2"}}});
  open({.tty = false, .command = {"sh", "-c", "echo $TOKEN; printf %s hunter2; sleep 0.3; echo -hunter2; echo $TOKEN | base64; echo the end"}});
  wait_for_end();
  EXPECT_THAT(output, Not(HasSubstr("hunter2")));
  EXPECT_THAT(output, Not(HasSubstr("aHVudGVyMi")));
  EXPECT_THAT(output, HasSubstr("***\n***\n"));
  EXPECT_THAT(output, HasSubstr("the end\n"));
  finish();
}

TEST_F(InitShells, OneThatNobodyReadsKeepsNoStepStateWaiting) {
  acknowledges = false;
  start();
  open({.tty = false, .command = {"sh", "-c", "while :; do echo 0123456789012345678901234567890123456789012345678901234567890123; done"}});
  while (received < shell_window_bytes) ASSERT_TRUE(turn());
  std::ofstream(init.workspace() / "go");
  wait_for_done();
  EXPECT_EQ(received, shell_window_bytes) << "a window's bytes, and not one more";
  EXPECT_EQ(done->outcome, Outcome::success);
  ASSERT_TRUE(ended);
  EXPECT_EQ(ended->detail, "the job has ended");
}

TEST_F(InitShells, GoesOnWhenItIsReadAgain) {
  acknowledges = false;
  start();
  open({.tty = false, .command = {"sh", "-c", "i=0; while [ $i -lt 5000 ]; do i=$((i+1)); echo line number $i is here; done"}});
  while (received < shell_window_bytes) ASSERT_TRUE(turn());
  acknowledges = true;
  init.send(ShellTaken{.shell = 1, .bytes = received});
  wait_for_end();
  std::string expected;
  for (int i = 1; i <= 5000; ++i) expected += "line number " + std::to_string(i) + " is here\n";
  EXPECT_EQ(output, expected);
  EXPECT_EQ(ended->exit_code, 0);
  finish();
}

TEST_F(InitShells, InputIsCountedAndMayBeAWindowAheadAndNoMore) {
  start();
  open({.tty = false, .command = {"sh", "-c", "sleep 0.2; wc -c"}});
  std::string piece(max_shell_piece_bytes, 'x');
  for (std::int64_t sent = 0; sent < 4 * shell_window_bytes; sent += max_shell_piece_bytes) {
    while (sent - taken >= shell_window_bytes) ASSERT_TRUE(turn());
    type(piece);
  }
  init.send(ShellInput{.shell = 1, .end = true});
  wait_for_end();
  EXPECT_THAT(output, HasSubstr(std::to_string(4 * shell_window_bytes)));
  EXPECT_EQ(taken, 4 * shell_window_bytes);

  ended.reset();
  open({.tty = false, .command = {"sleep", "1000"}});
  for (int i = 0; i < 40 && !ended; ++i) type(piece);   // the pipe holds some of it
  wait_for_end();
  EXPECT_THAT(ended->detail, HasSubstr("more input"));
  finish();
}

TEST_F(InitShells, ThereAreAtMostSoMany) {
  start();
  for (std::size_t i = 1; i <= max_shells_per_job; ++i) open({.command = {"sleep", "987654"}}, static_cast<std::int64_t>(i));
  open({}, 99);
  wait_for_end();
  EXPECT_EQ(ended->shell, 99);
  EXPECT_THAT(ended->detail, HasSubstr("4 shells already"));
  init.send(CloseShell{.shell = 2});
  ended.reset();
  wait_for_end();
  EXPECT_EQ(ended->shell, 2);
  open({.command = {"true"}}, 100);
  ended.reset();
  wait_for_end();
  EXPECT_EQ(*ended, (ShellEnded{.shell = 100, .exit_code = 0}));
  finish();
  EXPECT_TRUE(nobody_runs(std::string("sleep\0" "987654", 12))) << "they end with the job";
}

TEST_F(InitShells, AClosedOneTakesItsWholeSessionAlong) {
  start();
  open({});
  type("set -m; trap '' HUP; sleep 876543 & echo rea''dy\n");
  wait_for("ready");
  init.send(CloseShell{.shell = 1});
  wait_for_end();
  EXPECT_EQ(ended->detail, "closed");
  EXPECT_TRUE(nobody_runs(std::string("sleep\0" "876543", 12)));
  finish();
}

TEST_F(InitShells, ACancelEndsThemAtOnce) {
  start();
  open({});
  type("trap '' TERM HUP; echo rea''dy; sleep 765432\n");
  wait_for("ready");
  init.send(CancelJob{.grace = 60s});
  wait_for_end();
  EXPECT_EQ(ended->detail, "the job was canceled");
  wait_for_done();
  EXPECT_EQ(done->outcome, Outcome::canceled);
}

TEST_F(InitShells, WhatCannotBeStartedSaysWhy) {
  start();
  open({.command = {"no-such-program"}});
  wait_for_end();
  EXPECT_EQ(ended->detail, "the job's PATH has no 'no-such-program'");
  ended.reset();
  open({.command = {"./not-there"}});
  wait_for_end();
  EXPECT_EQ(ended->exit_code, 127);
  finish();
}

struct InitHolds : InitShells {
  void start_failing(Duration hold, Duration timeout = 60s) {
    start({.steps = {{.name = "break", .run = "echo made > evidence; exit 5"}, {.name = "clean", .run = "rm evidence", .finally = true}}, .timeout = timeout, .hold = hold});
  }
  void wait_until_held() {
    while (holds.empty()) ASSERT_TRUE(turn());
    ASSERT_TRUE(holds[0]);
  }
};

TEST_F(InitHolds, AFailedStepLeavesEverythingAsItIsUntilReleased) {
  start_failing(10min);
  wait_until_held();
  open({.tty = false, .command = {"cat", "evidence"}});
  wait_for_end();
  EXPECT_EQ(output, "made\n");
  init.send(ReleaseHold{});
  wait_for_done();
  EXPECT_EQ(done->outcome, Outcome::failure);
  EXPECT_EQ(done->exit_code, 5);
  ASSERT_EQ(holds.size(), 2u);
  EXPECT_FALSE(holds[1]);
  EXPECT_FALSE(std::filesystem::exists(init.workspace() / "evidence")) << "`finally` runs after the hold";
  EXPECT_THAT(init.log(), HasSubstr("mayfly: the job is held for a shell until "));
  EXPECT_THAT(init.log(), HasSubstr("mayfly: the job was released\n"));
}

TEST_F(InitHolds, EndsWithItsTimeAndWithTheJobs) {
  start_failing(100ms);
  wait_for_done();
  EXPECT_EQ(done->detail, "step 'break' ended with exit code 5");
  EXPECT_THAT(init.log(), HasSubstr("mayfly: the time for a shell is over\n"));
}

TEST_F(InitHolds, IsBoundedByTheJobsTimeout) {
  start_failing(10min, 400ms);
  wait_for_done();
  EXPECT_EQ(done->outcome, Outcome::failure) << "what failed first is what is said";
  EXPECT_THAT(init.log(), HasSubstr("the job timed out"));
}

TEST_F(InitHolds, ACancelEndsItAtOnce) {
  start_failing(10min);
  wait_until_held();
  init.send(CancelJob{.grace = 10s});
  wait_for_done();
  EXPECT_EQ(holds.size(), 2u);
}

TEST_F(InitHolds, NobodyIsHeldWhoDidNotAskOrDidNotFail) {
  start_failing(0s);
  wait_for_done();
  EXPECT_TRUE(holds.empty());
}

}  // namespace
}  // namespace mayfly
