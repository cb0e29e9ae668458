#include "domain/runner/protocol.h"

#include <gmock/gmock.h>

namespace mayfly {
namespace {

using testing::HasSubstr;

StepState some_step() {
  return {.name = "build", .status = StepStatus::failed, .exit_code = 2, .start_time = from_micros(1'700'000'000'000'001),
          .end_time = from_micros(1'700'000'001'000'000), .log_start = 10, .log_end = 99};
}

RunnerJob some_job() {
  RunnerJob j;
  j.spec.name = "test (a, 1)";
  j.spec.base_name = "test";
  j.spec.steps = {{}};
  j.spec.steps[0].name = "make";
  j.spec.steps[0].run = "make test\n";
  j.spec.matrix = {{"db", "a"}};
  j.env = {{"CI", "true"}};
  j.secrets = {{"TOKEN", "gr\xC3\xBC\xC3\x9F\n"}};
  j.source = {.repository = "/srv/m.git", .sha = std::string(40, 'a'), .ref = "refs/heads/main", .checkout = {.enabled = true, .depth = 0, .submodules = true}};
  j.needs = {{.name = "build", .status = "succeeded", .outputs = {{"v", "1"}},
              .artifacts = {{.id = "x", .kind = "outputs", .path = "outputs.tar", .size = 5, .sha256 = std::string(64, 'b')}}}};
  j.event.event = "pull_request";
  j.event.pull_request = 7;
  j.event.inputs = {{"target", "staging"}};
  j.event.changed_paths = std::vector<std::string>{};
  j.event.file_hashes = {{"**", "a b"}};
  return j;
}

FinishReport some_finish() {
  FinishReport r;
  r.outcome = Outcome::failure;
  r.reason = Reason::exit_code;
  r.detail = "step 'test' ended with exit code 2";
  r.exit_code = 2;
  r.log_bytes = 1234;
  r.steps = {some_step(), {.name = "next"}};
  r.outputs = {{"tag", "v1"}};
  r.tests = TestReport{.tests = 3, .failures = 1, .errors = 0, .skipped = 1, .time_ms = 42, .failed = {{.suite = "s", .name = "n", .message = "m"}}};
  return r;
}

TEST(RunnerProtocol, TheJobComesBackAsItWas) {
  auto back = runner_job_from_json(to_json(some_job()));
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(*back, some_job());
  auto plain = some_job();
  plain.event.changed_paths.reset();
  plain.event.pull_request.reset();
  EXPECT_EQ(runner_job_from_json(to_json(plain)), plain);
}

TEST(RunnerProtocol, UploadsComeBackAsTheyWere) {
  NewUpload upload{.kind = "artifact", .path = "a/b", .size = std::int64_t(5) << 30, .sha256 = std::string(64, 'a')};
  EXPECT_EQ(new_upload_from_json(to_json(upload)), upload);
  PreparedUpload prepared{.id = "i", .url = "https://s3/x?y=1&z", .headers = {{"Content-Length", "5"}, {"x", ""}}};
  EXPECT_EQ(prepared_upload_from_json(to_json(prepared)), prepared);
  EXPECT_EQ(prepared_upload_from_json(to_json(PreparedUpload{})), PreparedUpload{});
  EXPECT_EQ(upload_commit_from_json(to_json(UploadCommit{"i"})), UploadCommit{"i"});
}

TEST(RunnerProtocol, UploadsThatMakeNoSenseAreRefused) {
  EXPECT_FALSE(new_upload_from_json(R"({"kind":"artifact","path":"a","size":-1,"sha256":""})"));
  EXPECT_FALSE(new_upload_from_json(R"({"kind":"artifact","path":"a","size":1})"));
  for (auto* headers : {"{}", "[1]", R"([["a"]])", R"([["a",1]])", R"([["a","b","c"]])"})
    EXPECT_FALSE(prepared_upload_from_json(R"({"id":"i","url":"u","headers":)" + std::string(headers) + "}")) << headers;
  EXPECT_FALSE(upload_commit_from_json("{}"));
}

TEST(RunnerProtocol, TheAnswerToStartCarriesTheJob) {
  auto back = start_answer_from_json(to_json(StartAnswer{"token", Fence{3}, some_job()}));
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(back->attempt_token, "token");
  EXPECT_EQ(back->fence, Fence{3});
  EXPECT_EQ(back->job, some_job());
}

TEST(RunnerProtocol, TheReportOfTheEndComesBackAsItWas) {
  EXPECT_EQ(finish_report_from_json(to_json(some_finish())), some_finish());
  FinishReport empty;
  EXPECT_EQ(finish_report_from_json(to_json(empty)), empty);
}

TEST(RunnerProtocol, SmallMessagesComeBackAsTheyWere) {
  auto start = start_request_from_json(to_json(StartRequest{.boot_token = "b", .runner_id = "r"}));
  ASSERT_TRUE(start);
  EXPECT_EQ(start->boot_token, "b");
  EXPECT_EQ(start->runner_id, "r");
  EXPECT_EQ(start->isolation, std::nullopt);
  EXPECT_EQ(start_request_from_json(to_json(StartRequest{.boot_token = "b", .runner_id = "r", .isolation = Isolation::gvisor}))->isolation, Isolation::gvisor);
  EXPECT_EQ(start_request_from_json(R"({"boot_token": "b", "runner_id": "r", "isolation": "walls"})").error().code, Errc::invalid);
  auto pod = start_request_from_json(to_json(StartRequest{.identity = "a.b.c", .runner_id = "r"}));
  ASSERT_TRUE(pod);
  EXPECT_EQ(pod->identity, "a.b.c");
  EXPECT_EQ(pod->boot_token, "");
  EXPECT_EQ(heartbeat_request_from_json(to_json(HeartbeatRequest{.wait_ms = 7}))->wait_ms, 7);
  auto beat = heartbeat_answer_from_json(to_json(HeartbeatAnswer{.cancel = true, .grace_ms = 8, .durable = 9}));
  ASSERT_TRUE(beat);
  EXPECT_TRUE(beat->cancel);
  EXPECT_EQ(beat->grace_ms, 8);
  EXPECT_EQ(beat->durable, 9);
  auto logs = logs_answer_from_json(to_json(LogsAnswer{.next = 5, .durable = 4}));
  ASSERT_TRUE(logs);
  EXPECT_EQ(logs->next, 5);
  EXPECT_EQ(logs->durable, 4);
  EXPECT_EQ(steps_report_from_json(to_json(StepsReport{.steps = {some_step()}}))->steps, std::vector{some_step()});
}

template <class T>
std::string said(const Result<T>& got) {
  if (got) return "accepted";
  EXPECT_EQ(got.error().code, Errc::invalid);
  return got.error().message;
}

TEST(RunnerProtocol, WrongFieldsAreNamed) {
  EXPECT_EQ(said(start_request_from_json("{}")), "'boot_token' must be there");
  EXPECT_EQ(said(start_request_from_json(R"({"identity":1,"boot_token":"b"})")), "'identity' must be a string");
  EXPECT_EQ(said(start_request_from_json("[]")), "'message' must be an object");
  EXPECT_EQ(said(start_request_from_json(R"({"boot_token":1})")), "'boot_token' must be a string");
  EXPECT_THAT(said(start_request_from_json("{")), HasSubstr("not JSON"));
  EXPECT_EQ(said(heartbeat_request_from_json(R"({"wait_ms":-1})")), "'wait_ms' must be 0 or more");
  EXPECT_EQ(said(heartbeat_request_from_json(R"({"wait_ms":1.5})")), "'wait_ms' must be a whole number");
  EXPECT_EQ(said(logs_answer_from_json(R"({"next":18446744073709551615,"durable":0})")), "'next' must be a whole number");
  EXPECT_EQ(said(steps_report_from_json(R"({"steps":{}})")), "'steps' must be an array");
  EXPECT_EQ(said(steps_report_from_json(R"({"steps":[{"name":"a","status":"done"}]})")),
            "'steps[0].status' must be waiting, running, succeeded, failed, canceled or skipped");
  EXPECT_EQ(said(finish_report_from_json(R"({"outcome":"fine"})")), "'outcome' must be success, failure, timeout, canceled or infrastructure");
  EXPECT_EQ(said(finish_report_from_json(R"({"outcome":"success","reason":"","log_bytes":0,"exit_code":256})")), "'exit_code' must be 0 to 255");
  EXPECT_EQ(said(finish_report_from_json(R"({"outcome":"success","reason":"","log_bytes":-1})")), "'log_bytes' must be 0 or more");
  EXPECT_EQ(said(finish_report_from_json(R"({"outcome":"success","reason":"","log_bytes":0,"outputs":{"a":1}})")), "'outputs' must be an object of strings");
}

TEST(RunnerProtocol, TestReportsHaveTheirLimits) {
  auto report = some_finish();
  report.tests->failed.resize(100);
  report.tests->failed[0].message.assign(4096, 'x');
  EXPECT_EQ(finish_report_from_json(to_json(report)), report) << "at the limit";
  report.tests->failed[0].message += 'x';
  EXPECT_EQ(said(finish_report_from_json(to_json(report))), "'tests.failed[0].message' must be at most 4096 bytes");
  report.tests->failed[0].message.clear();
  report.tests->failed.resize(101);
  EXPECT_EQ(said(finish_report_from_json(to_json(report))), "'tests.failed' must be at most 100 tests");
}

TEST(RunnerProtocol, NoCutOrChangedByteOfAMessageIsMoreThanAnError) {
  for (auto& text : {to_json(some_job()), to_json(some_finish())}) {
    for (std::size_t i = 0; i < text.size(); ++i) {
      EXPECT_FALSE(runner_job_from_json(std::string_view(text).substr(0, i)));
      auto changed = text;
      changed[i] = static_cast<char>(changed[i] ^ 0x11);
      (void)runner_job_from_json(changed);
      (void)finish_report_from_json(changed);
      (void)steps_report_from_json(changed);
    }
  }
}

TEST(RunnerProtocol, StepStatusesHaveWords) {
  for (auto s : {StepStatus::waiting, StepStatus::running, StepStatus::succeeded, StepStatus::failed, StepStatus::canceled, StepStatus::skipped})
    EXPECT_EQ(step_status_from(to_string(s)), s);
  EXPECT_EQ(step_status_from("x"), std::nullopt);
}

}  // namespace
}  // namespace mayfly
