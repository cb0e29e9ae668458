#include <gtest/gtest.h>

#include "cli/render/build_view.h"
#include "cli/render/text.h"

namespace mayfly::cli {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

const Time start = parse_rfc3339("2026-03-01T12:00:00Z").value();

Build diamond() {
  Build build{.id = "b1",
              .number = 42,
              .status = "running",
              .sequence = 9,
              .trigger_type = "push",
              .ref = "refs/heads/main",
              .commit_sha = "1a2b3c4d5e6f",
              .message = "Add greeting\n\nlong text",
              .start_time = start};
  build.jobs = {
      {.name = "lint", .status = "succeeded", .attempt = 1, .start_time = start, .end_time = start + milliseconds(1200)},
      {.name = "build", .status = "succeeded", .attempt = 2, .start_time = start, .end_time = start + seconds(3), .tests = TestCounts{12, 0, 1}},
      {.name = "test (1)",
       .status = "running",
       .needs = {"build"},
       .attempt = 1,
       .start_time = start + seconds(3),
       .steps = {{.name = "prepare", .status = "succeeded"}, {.name = "make test", .status = "running"}}},
      {.name = "test (2)", .status = "queued", .needs = {"build"}, .attempt = 1, .waiting_for = "1st of 2 in acme; a runner with 2 cpu"},
      {.name = "deploy", .status = "waiting", .needs = {"lint", "test (1)", "test (2)"}},
      {.name = "notes", .status = "skipped", .needs = {"lint"}, .reason = "filtered", .detail = "no path under docs/ changed"},
      {.name = "flaky", .status = "failed", .needs = {"lint"}, .attempt = 1, .reason = "exit_code", .detail = "step 'x' ended with exit code 2", .allow_failure = true,
       .start_time = start + seconds(2), .end_time = start + seconds(3)},
  };
  return build;
}

BuildScene scene(const Build& build) { return {build, "web", start + seconds(15)}; }

std::string text(const std::vector<std::string>& lines) {
  std::string out;
  for (auto& line : lines) out += line + "\n";
  return out;
}

TEST(BuildTree, ShowsEachJobUnderTheDeepestItNeeds) {
  auto build = diamond();
  EXPECT_EQ(text(build_tree(scene(build), {.colour = false, .width = 80})), R"(● web#42  running  main 1a2b3c4  Add greeting  15s
  ✔ lint        1.2s
  ├─– notes             no path under docs/ changed
  └─! flaky     1.0s    step 'x' ended with exit code 2, allowed to fail
  ✔ build       3.0s    attempt 2, 12 tests, 1 skipped
  ├─● test (1)  12s     [2/2] make test
  └─○ test (2)          1st of 2 in acme; a runner with 2 cpu
    └─○ deploy          needs test (1), test (2)
)");
}

TEST(BuildTree, NamesAnIsolationThatIsNotTheOrdinaryOne) {
  Build build{.status = "succeeded", .jobs = {{.name = "plain", .status = "succeeded", .isolation = "sandbox"}, {.name = "strong", .status = "succeeded", .isolation = "gvisor"}}};
  auto shown = text(build_tree(scene(build), {}));
  EXPECT_TRUE(shown.contains("under gvisor"));
  EXPECT_FALSE(shown.contains("sandbox"));
}

TEST(BuildTree, FitsTheScreenAndCountsWhatItHides) {
  auto build = diamond();
  auto lines = build_tree(scene(build), {.colour = false, .width = 80}, 6);
  ASSERT_EQ(lines.size(), 6u);
  EXPECT_EQ(lines.back(), "  … and 1 skipped, 2 succeeded");
  EXPECT_TRUE(text(lines).find("test (1)") != std::string::npos);
  for (auto& line : build_tree(scene(build), {.colour = true, .width = 40})) EXPECT_LE(columns(line), 40u) << line;
}

TEST(BuildTree, ShowsWhatIsWrongWithThePipeline) {
  Build build{.number = 3, .status = "failed", .ref = "refs/heads/main", .errors = {".ci.yaml:4:3: unknown key 'stepz': did you mean 'steps'?"}};
  auto lines = build_tree(scene(build), {});
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[1], "  ✘ .ci.yaml:4:3: unknown key 'stepz': did you mean 'steps'?");
  EXPECT_EQ(verdict(scene(build), {}), "✘ web#3 failed: the pipeline has 1 error");
}

TEST(BuildTree, NamesFromOutsideCannotSteerTheTerminal) {
  Build build{.number = 1, .status = "running", .ref = "refs/heads/\x1b[2Jx", .message = "hi\x1b]0;owned\x07 there"};
  build.jobs = {{.name = "a\x1b[31m\n", .status = "running"}};
  for (auto& line : build_tree(scene(build), {}))
    for (unsigned char c : line) EXPECT_FALSE(c < 0x20 || c == 0x7f) << line;
}

TEST(Changes, AreOneLineAChange) {
  auto before = diamond();
  auto after = before;
  after.jobs[2].status = "succeeded";
  after.jobs[2].end_time = start + seconds(14);
  after.jobs[3].status = "running";
  after.jobs[3].start_time = start + seconds(14);
  EXPECT_EQ(text(changes(&before, scene(after))), "test (1): succeeded in 11s\ntest (2): running\n");
  EXPECT_EQ(changes(&after, scene(after)).size(), 0u);
  before = diamond();
  after = before;
  after.jobs[2].steps[1].status = "succeeded";
  EXPECT_EQ(changes(&before, scene(after)).size(), 0u) << "the next step is the news, not that this one has ended";
}

TEST(Changes, BeginWithTheBuildAndWhatHasHappened) {
  auto build = diamond();
  auto lines = changes(nullptr, scene(build));
  ASSERT_GT(lines.size(), 2u);
  EXPECT_EQ(lines[0], "● web#42  running  main 1a2b3c4  Add greeting  15s");
  EXPECT_EQ(lines[1], "lint: succeeded in 1.2s");
  EXPECT_EQ(text(lines).find("deploy"), std::string::npos) << "a waiting job is no news";
}

TEST(Verdict, CountsJobsByStatus) {
  auto build = diamond();
  build.status = "failed";
  build.end_time = start + seconds(61);
  EXPECT_EQ(verdict(scene(build), {}), "✘ web#42 failed in 1m 1s: 1 waiting, 1 queued, 1 running, 2 succeeded, 1 failed, 1 skipped");
  EXPECT_TRUE(culprits(build).empty()) << "a job that may fail is no culprit";
  build.jobs[6].allow_failure = false;
  ASSERT_EQ(culprits(build).size(), 1u);
  EXPECT_EQ(culprits(build)[0]->name, "flaky");
}

TEST(Refs, AreShortForPeople) {
  EXPECT_EQ(short_ref("refs/heads/feature/x"), "feature/x");
  EXPECT_EQ(short_ref("refs/tags/v1"), "v1");
  EXPECT_EQ(short_ref("refs/pull/7/head"), "#7");
  EXPECT_EQ(short_ref("weird"), "weird");
}

TEST(Text, CutsByColumnsAndKeepsEscapesWhole) {
  EXPECT_EQ(cut("abcdef", 6), "abcdef");
  EXPECT_EQ(cut("abcdef", 4), "abc…");
  EXPECT_EQ(cut("äöüäöü", 4), "äöü…");
  EXPECT_EQ(cut("\x1b[31mabcdef\x1b[0m", 4), "\x1b[31mabc…\x1b[0m");
  EXPECT_EQ(cut("abc", 0), "");
}

TEST(Text, HarmlessTextHasNoControlCharactersAndNoBrokenUtf8) {
  EXPECT_EQ(harmless("tab\there \x1b[2J \x7f \xff \xc2\x9b ü"), "tab?here ?[2J ? ? ? ü");
  EXPECT_EQ(harmless("\xe2\x82"), "??");
}

TEST(Text, ColumnsLineUp) {
  EXPECT_EQ(table({{"A", "LONG", "x"}, {"äöü", "b", "last"}}), "A    LONG  x\näöü  b     last\n");
}

TEST(Text, LastLinesAreWhatAPersonWouldSee) {
  auto lines = last_lines("one\ntwo\n\x1b[31mred\x1b[0m\r\n10%\r50%\r100%\n", 3);
  EXPECT_EQ(lines, (std::vector<std::string>{"two", "red", "100%"}));
  EXPECT_TRUE(last_lines("", 3).empty());
}

TEST(Text, BytesAreForPeople) {
  EXPECT_EQ(format_bytes(512), "512 B");
  EXPECT_EQ(format_bytes(1536), "1.5 KiB");
  EXPECT_EQ(format_bytes(std::int64_t(5) << 30), "5.0 GiB");
}

}  // namespace
}  // namespace mayfly::cli
