#include "runner/control/messages.h"

#include <gmock/gmock.h>

namespace mayfly {
namespace {

using namespace std::chrono_literals;

InitJob some_job() {
  InitJob job;
  job.steps = {{.name = "build", .run = "make\n", .shell = "bash", .env = {{"A", "1"}}, .condition = "always()", .timeout = 2min},
               {.name = "tell", .run = "./notify.sh", .finally = true}};
  job.env = {{"CI", "true"}, {"TEXT", "gr\xC3\xBC\xC3\x9F \"dich\"\n"}};
  job.secrets = {{"TOKEN", "hunter2"}};
  job.timeout = 5min;
  job.term_grace = 1s;
  job.finally_limit = 2s;
  job.log_limit = 12345;
  job.hold = 15min;
  return job;
}

std::string every_byte() {
  std::string out;
  for (int b = 0; b < 256; ++b) out += static_cast<char>(b);
  return out;
}

StepState some_state() {
  return {.name = "build", .status = StepStatus::failed, .exit_code = 2, .start_time = from_micros(1'700'000'000'000'001),
          .end_time = from_micros(1'700'000'001'000'000), .log_start = 10, .log_end = 99};
}

TEST(ControlMessages, ToInitComeBackAsTheyWere) {
  for (ToInit message : {ToInit(some_job()), ToInit(InitJob{}), ToInit(CancelJob{.grace = 3s, .outcome = Outcome::timeout}), ToInit(CancelJob{.grace = 1s, .finally_limit = 2s}),
                         ToInit(ConditionAnswer{.step = 1, .run = true, .error = "no"}),
                         ToInit(OpenShell{.shell = 3, .who = "ada", .wish = {.tty = false, .size = {1, 2}, .term = "vt100", .command = {"ls", "-l"}}}),
                         ToInit(ShellInput{.shell = 3, .bytes = every_byte()}), ToInit(ShellInput{.shell = 3, .end = true}),
                         ToInit(ShellResize{.shell = 3, .size = {200, 50}}), ToInit(CloseShell{.shell = 3}), ToInit(ShellTaken{.shell = 3, .bytes = 5}),
                         ToInit(ReleaseHold{})}) {
    auto line = to_line(message);
    EXPECT_EQ(line.find('\n'), line.size() - 1) << "one line";
    auto back = to_init_from(line);
    ASSERT_TRUE(back) << back.error().message;
    EXPECT_EQ(*back, message);
  }
}

TEST(ControlMessages, FromInitComeBackAsTheyWere) {
  for (FromInit message :
       {FromInit(AskCondition{.step = 2, .so_far = JobSoFar::failure, .env = {{"A", "b"}}, .outputs = {{"o", "p"}}}),
        FromInit(StepChange{.step = 0, .state = some_state()}),
        FromInit(ShellOutput{.shell = 1, .stream = ShellStream::err, .bytes = every_byte()}), FromInit(ShellTaken{.shell = 1, .bytes = 7}),
        FromInit(ShellEnded{.shell = 1, .exit_code = 130}), FromInit(ShellEnded{.shell = 1, .detail = "gone"}),
        FromInit(HoldChange{.until = from_micros(1'700'000'000'000'001)}), FromInit(HoldChange{}),
        FromInit(InitDone{.outcome = Outcome::failure, .detail = "no", .exit_code = 2, .killed = true, .out_of_memory = true, .outputs = {{"V", "1\n2"}},
                          .log_bytes = 7, .dropped_bytes = 8})}) {
    auto back = from_init_from(to_line(message));
    ASSERT_TRUE(back) << back.error().message;
    EXPECT_EQ(*back, message);
  }
}

TEST(ControlMessages, FromAHostileInitAreRefusedByField) {
  auto said = [](std::string_view line) {
    auto got = from_init_from(line);
    return got ? "accepted" : got.error().message;
  };
  EXPECT_THAT(said("{"), testing::HasSubstr("not JSON"));
  EXPECT_EQ(said("[]"), "a control message of no known kind");
  EXPECT_EQ(said("{\"job\":{}}"), "a control message of no known kind");
  EXPECT_EQ(said(R"({"done":{"outcome":"great"}})"), "'done.outcome' must be an outcome");
  EXPECT_EQ(said(R"({"done":{"outcome":"success","log_bytes":-1,"dropped_bytes":0}})"), "'done.log_bytes' must be 0 or more");
  EXPECT_EQ(said(R"({"done":{"outcome":"success","log_bytes":0,"dropped_bytes":0,"exit_code":256}})"), "'done.exit_code' must be 0 to 255");
  EXPECT_EQ(said(R"({"done":{"outcome":"success","log_bytes":0,"dropped_bytes":0,"outputs":{"a":1}}})"), "'done.outputs' must be an object of strings");
  EXPECT_EQ(said(R"({"step":{"index":-1,"state":{}}})"), "'step.index' must be 0 or more");
  EXPECT_EQ(said(R"({"step":{"index":0,"state":{"name":"x","status":"odd"}}})"),
            "'step.state.status' must be waiting, running, succeeded, failed, canceled or skipped");
  EXPECT_EQ(said(R"({"step":{"index":0,"state":{"name":"x","status":"failed","log_start":5,"log_end":4}}})"),
            "'step.state.log_end' must be at or after log_start");
  EXPECT_EQ(said(R"({"step":{"index":0,"state":{"name":"x","status":"failed","start_time":"noon"}}})"),
            "'step.state.start_time' must be a time (RFC 3339)");
  EXPECT_EQ(said(R"({"ask":{"step":0}})"), "'ask.so_far' must be there");
  EXPECT_EQ(said(R"({"shell_output":{"shell":0,"stream":0,"bytes":""}})"), "'shell_output.stream' must be 1 or 2");
  EXPECT_EQ(said("{\"shell_output\":{\"shell\":0,\"stream\":1,\"bytes\":\"\u20ac\"}}"), "'shell_output.bytes' must be characters up to U+00FF");
  EXPECT_EQ(said("{\"shell_output\":{\"shell\":0,\"stream\":1,\"bytes\":\"" + std::string(max_shell_piece_bytes + 1, 'x') + "\"}}"),
            "'shell_output.bytes' must be at most 16384");
  EXPECT_EQ(said(R"({"shell_ended":{"shell":0,"exit_code":-1}})"), "'shell_ended.exit_code' must be 0 to 255");
}

TEST(ControlMessages, HaveALimit) {
  auto line = to_line(ToInit(InitJob{.steps = {{.name = "x", .run = std::string(max_control_line_bytes, 'x')}}}));
  auto got = to_init_from(line);
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, Errc::too_large);
}

}  // namespace
}  // namespace mayfly
