#pragma once
// What a runner and the server say to each other (HTTP under /runner/v1, JSON bodies), the same for every executor.
//
//   POST /runner/v1/attempts/{id}/start      StartRequest → StartAnswer   409: another runner was first; exit at once
//   POST /runner/v1/attempts/{id}/heartbeat  HeartbeatRequest → HeartbeatAnswer, long poll: answered on cancel or after `wait_ms`
//   POST /runner/v1/attempts/{id}/logs       log frames (domain/logs/frame.h), perhaps none → LogsAnswer
//   POST /runner/v1/ingest                   logs as other shippers send them (domain/logs/shipped.h) → {"logs", "bytes", "refused"}
//   POST /runner/v1/attempts/{id}/steps      StepsReport → {}
//   PUT  /runner/v1/attempts/{id}/artifacts?kind=artifact|outputs&path=P   bytes, `Digest: sha-256=…` → {"id", "sha256"}
//   POST /runner/v1/attempts/{id}/artifacts/prepare  NewUpload → PreparedUpload: where the bytes may go instead, if anywhere
//   POST /runner/v1/attempts/{id}/artifacts/commit   UploadCommit → {"id", "sha256"}, once the bytes are there. Repeatable
//   GET  /runner/v1/attempts/{id}/artifacts/{artifact}                     bytes of an artifact of a needed job, or 302 to where they
//                                            are; `?direct=no`: the bytes
//   GET  /runner/v1/attempts/{id}/source.git/info/refs?service=git-upload-pack, POST …/source.git/git-upload-pack: git's smart HTTP
//                                            (version 0), of the job's commit as refs/mayfly/<sha>; 429: ask again in a moment
//   POST /runner/v1/attempts/{id}/finish     FinishReport → {}            repeatable; 400: bytes of the log are missing, send them again
//
// Every call but start carries `Authorization: Bearer <attempt token>` and `Mayfly-Fence: <fence>`; 409 with problem code
// "fenced" means this attempt is no longer current: stop the job and exit. A shipper of many attempts' logs calls ingest with a
// token of role `shipper` and no fence.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "domain/build/reason.h"
#include "domain/pipeline/plan.h"

namespace mayfly {

inline constexpr Duration heartbeat_interval = std::chrono::seconds(5);
inline constexpr Duration heartbeat_lost_after = std::chrono::seconds(30);
inline constexpr std::int64_t max_log_bytes = std::int64_t(1) << 30;        // of an attempt; the rest is counted and said
inline constexpr std::int64_t max_artifact_bytes = std::int64_t(5) << 30;
inline constexpr std::size_t max_artifacts_per_attempt = 1000;
inline constexpr std::size_t max_step_output_bytes = 1 << 20;               // of $CI_OUTPUT and of $CI_ENV
inline constexpr std::size_t max_log_request_bytes = 4 << 20;

struct SourceRef {
  std::string repository = {};  // a directory or URL git can fetch from; where it is none here, the server gives the source itself
  std::string sha = {};
  std::string ref = {};
  CheckoutSpec checkout;
  bool operator==(const SourceRef&) const = default;
};

struct NeededArtifact {
  std::string id = {};
  std::string kind = {};        // "artifact": one file at `path`; "outputs": a tar of the job's `outputs`, unpacked in the workspace
  std::string path = {};
  std::int64_t size = 0;
  std::string sha256 = {};      // hex
  bool operator==(const NeededArtifact&) const = default;
};

struct NeededJob {
  std::string name = {};
  std::string status = {};
  std::map<std::string, std::string> outputs = {};
  std::vector<NeededArtifact> artifacts = {};
  bool operator==(const NeededJob&) const = default;
};

/// All a runner must know to run its attempt.
struct RunnerJob {
  JobSpec spec;
  Env env;                       // CI=true, CI_BUILD_ID, … and the pipeline's own; not secret
  Env secrets;                   // by name; masked in the log, and in the environment of the steps
  SourceRef source;
  std::vector<NeededJob> needs;
  TriggerEvent event;            // what step conditions may ask
  bool operator==(const RunnerJob&) const = default;
};

struct StartRequest {
  std::string boot_token = {};        // or, from a pod, nothing:
  std::string identity = {};          // a token of its cluster's that says which pod asks (domain/access/workload.h)
  std::string runner_id = {};         // who asks: the same runner asking again is answered again, another is refused
  std::optional<Isolation> isolation = {};   // what its job truly runs under; nullopt: not known
  std::optional<Time> born_at = {};   // when it began to be, by its own clock
};

struct StartAnswer {
  std::string attempt_token;
  Fence fence;
  RunnerJob job;
};

struct HeartbeatRequest {
  std::int64_t wait_ms = 5000;
};

struct HeartbeatAnswer {
  bool cancel = false;
  std::int64_t grace_ms = 0;     // between SIGTERM and SIGKILL
  std::int64_t durable = 0;      // log bytes the server will never ask for again
  std::vector<std::string> shells = {};   // wanted, and not here yet (shell.h)
  bool release = false;          // a hold is to end
};

struct LogsAnswer {
  std::int64_t next = 0;         // the offset the server wants next: behind what was sent after a server restart
  std::int64_t durable = 0;
};

enum class StepStatus { waiting, running, succeeded, failed, canceled, skipped };
std::string_view to_string(StepStatus);
std::optional<StepStatus> step_status_from(std::string_view);

/// A file that is to become an artifact.
struct NewUpload {
  std::string kind = {};         // "artifact" or "outputs"
  std::string path = {};
  std::int64_t size = 0;
  std::string sha256 = {};       // hex
  bool operator==(const NewUpload&) const = default;
};

/// PUT the bytes to `url` with these headers (and no others that say who asks), then commit `id`. Without a URL: PUT them to
/// the server.
struct PreparedUpload {
  std::string id = {};
  std::string url = {};
  std::vector<std::pair<std::string, std::string>> headers = {};
  bool operator==(const PreparedUpload&) const = default;
};

struct UploadCommit {
  std::string id = {};
  bool operator==(const UploadCommit&) const = default;
};

struct StepState {
  std::string name = {};
  StepStatus status = StepStatus::waiting;
  std::optional<int> exit_code = {};
  std::optional<Time> start_time = {};
  std::optional<Time> end_time = {};
  std::int64_t log_start = 0;    // its lines are the log's bytes [log_start, log_end)
  std::int64_t log_end = 0;
  bool operator==(const StepState&) const = default;
};

/// Level, not edge: all steps as they are now.
struct StepsReport {
  std::vector<StepState> steps = {};
  std::optional<Time> first_byte_at = {};   // when the server had the first byte of the log, as far as the runner knows
  std::optional<Time> held_until = {};   // a step failed, and the job waits for people that long
};

struct TestFailure {
  std::string suite = {};
  std::string name = {};
  std::string message = {};           // at most 4 KiB
  bool operator==(const TestFailure&) const = default;
};

/// Summed up from the job's JUnit files.
struct TestReport {
  std::int64_t tests = 0;
  std::int64_t failures = 0;
  std::int64_t errors = 0;
  std::int64_t skipped = 0;
  std::int64_t time_ms = 0;
  std::vector<TestFailure> failed = {};  // at most 100
  bool operator==(const TestReport&) const = default;
};

struct FinishReport {
  Outcome outcome = Outcome::infrastructure;
  Reason reason = Reason::none;
  std::string detail = {};            // a sentence: "step 'test' ended with exit code 2"
  std::optional<int> exit_code = {};
  std::int64_t log_bytes = 0;    // the log's whole length; what of it is not durable yet becomes so with this report
  std::vector<StepState> steps = {};
  std::map<std::string, std::string> outputs = {};   // $CI_OUTPUT
  std::optional<TestReport> tests = {};
  std::optional<Time> first_byte_at = {};            // of StepsReport
  bool operator==(const FinishReport&) const = default;
};

// JSON forms; the readers take bytes from outside and answer Errc::invalid naming the field that is wrong.
std::string to_json(const StartRequest&);
std::string to_json(const StartAnswer&);
std::string to_json(const RunnerJob&);
std::string to_json(const HeartbeatRequest&);
std::string to_json(const HeartbeatAnswer&);
std::string to_json(const LogsAnswer&);
std::string to_json(const NewUpload&);
std::string to_json(const PreparedUpload&);
std::string to_json(const UploadCommit&);
std::string to_json(const StepsReport&);
std::string to_json(const FinishReport&);
Result<StartRequest> start_request_from_json(std::string_view);
Result<StartAnswer> start_answer_from_json(std::string_view);
Result<RunnerJob> runner_job_from_json(std::string_view);
Result<HeartbeatRequest> heartbeat_request_from_json(std::string_view);
Result<HeartbeatAnswer> heartbeat_answer_from_json(std::string_view);
Result<LogsAnswer> logs_answer_from_json(std::string_view);
Result<NewUpload> new_upload_from_json(std::string_view);
Result<PreparedUpload> prepared_upload_from_json(std::string_view);
Result<UploadCommit> upload_commit_from_json(std::string_view);
Result<StepsReport> steps_report_from_json(std::string_view);
Result<FinishReport> finish_report_from_json(std::string_view);

}  // namespace mayfly
