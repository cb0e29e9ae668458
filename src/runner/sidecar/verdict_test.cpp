#include "runner/sidecar/verdict.h"

#include <gtest/gtest.h>

namespace mayfly {
namespace {

InitDone last_word(Outcome outcome, std::string detail = "as init said") {
  return {.outcome = outcome, .detail = std::move(detail), .exit_code = outcome == Outcome::success ? std::nullopt : std::optional(2), .outputs = {{"a", "b"}}};
}

void expect(const Evidence& evidence, Outcome outcome, Reason reason, std::string_view detail) {
  auto report = judge(evidence);
  EXPECT_EQ(to_string(report.outcome), to_string(outcome));
  EXPECT_EQ(to_string(report.reason), to_string(reason));
  EXPECT_EQ(report.detail, detail);
}

TEST(Verdict, IsInitsWhenItHadTheLastWord) {
  expect({.done = last_word(Outcome::success, "")}, Outcome::success, Reason::none, "");
  expect({.done = last_word(Outcome::failure)}, Outcome::failure, Reason::exit_code, "as init said");
  expect({.done = last_word(Outcome::timeout)}, Outcome::timeout, Reason::timeout, "as init said");
  expect({.done = last_word(Outcome::canceled), .canceled = true}, Outcome::canceled, Reason::canceled, "as init said");
  expect({.done = last_word(Outcome::infrastructure)}, Outcome::infrastructure, Reason::disk_full, "as init said");
  auto report = judge({.done = last_word(Outcome::failure)});
  EXPECT_EQ(report.exit_code, 2);
  EXPECT_EQ(report.outputs.at("a"), "b");
}

TEST(Verdict, AServiceThatEndedIsTheCauseUnlessSomebodyCanceledOrAllWentWell) {
  Evidence evidence{.done = last_word(Outcome::canceled), .service = "the service 'db' ended"};
  expect(evidence, Outcome::failure, Reason::service, "the service 'db' ended");
  evidence.done = last_word(Outcome::failure);
  expect(evidence, Outcome::failure, Reason::service, "the service 'db' ended; as init said");
  evidence.done = last_word(Outcome::success, "");
  expect(evidence, Outcome::success, Reason::none, "");
  evidence.done = last_word(Outcome::canceled);
  evidence.canceled = true;
  expect(evidence, Outcome::canceled, Reason::canceled, "as init said");
  expect({.service = "the service 'db' ended"}, Outcome::failure, Reason::service, "the service 'db' ended");
}

TEST(Verdict, ACancelNobodyAskedForCameFromThePlatform) {
  expect({.done = last_word(Outcome::canceled)}, Outcome::infrastructure, Reason::evicted, evicted_detail);
  expect({.done = last_word(Outcome::canceled), .evicted = true}, Outcome::infrastructure, Reason::evicted, evicted_detail);
  expect({.evicted = true}, Outcome::infrastructure, Reason::evicted, evicted_detail);
  expect({.done = last_word(Outcome::success, ""), .evicted = true}, Outcome::success, Reason::none, "");
}

TEST(Verdict, FailuresHaveTheirCauseFromTheSandbox) {
  expect({.done = last_word(Outcome::failure, "step 'x' was killed"), .out_of_memory = true, .memory_bytes = 1 << 30}, Outcome::failure, Reason::oom,
         "step 'x' was killed; the job ran out of memory: its limit is 1 GiB");
  expect({.done = last_word(Outcome::failure, "step 'x' ended with exit code 1"), .disk_full = true, .disk_bytes = 100 << 20}, Outcome::infrastructure,
         Reason::disk_full, "step 'x' ended with exit code 1; the job's disk is full: its limit is 100 MiB");
  expect({.done = last_word(Outcome::success, ""), .out_of_memory = true, .disk_full = true}, Outcome::success, Reason::none, "");
}

TEST(Verdict, WithoutALastWordIsWhatIsKnown) {
  expect({.sandbox_detail = "no such file"}, Outcome::infrastructure, Reason::runner_lost, "the sandbox ended before the job did: no such file");
  expect({.canceled = true}, Outcome::canceled, Reason::canceled, "the job was canceled");
  expect({.out_of_time = true}, Outcome::timeout, Reason::timeout, "the job did not end within its time limit");
  expect({.out_of_memory = true, .memory_bytes = 512 << 20}, Outcome::failure, Reason::oom, "the job ran out of memory: its limit is 512 MiB");
  expect({.disk_full = true, .disk_bytes = std::int64_t(4) << 30}, Outcome::infrastructure, Reason::disk_full, "the job's disk is full: its limit is 4 GiB");
}

TEST(Verdict, AJobThatTampersIsNotBelieved) {
  expect({.done = last_word(Outcome::success), .breach = "an offset does not follow"}, Outcome::failure, Reason::exit_code,
         "the job tampered with its runner: an offset does not follow");
  EXPECT_TRUE(judge({.done = last_word(Outcome::success), .breach = "x"}).outputs.empty());
}

}  // namespace
}  // namespace mayfly
