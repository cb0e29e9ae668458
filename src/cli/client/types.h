#pragma once
// The server's answers as values. Ids and statuses stay text here: the CLI shows and compares them, the server judges
// them. `json` is the answer as it came, for --json.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"

namespace mayfly::cli {

struct Step {
  std::string name = {};
  std::string status = {};
  std::optional<std::int64_t> exit_code = {};
  std::optional<Time> start_time = {};
  std::optional<Time> end_time = {};
  std::optional<std::int64_t> log_start = {};  // its lines are the log's bytes [log_start, log_end)
  std::optional<std::int64_t> log_end = {};

  bool operator==(const Step&) const = default;
};

struct TestCounts {
  std::int64_t tests = 0;
  std::int64_t failures = 0;  // and errors
  std::int64_t skipped = 0;

  bool operator==(const TestCounts&) const = default;
};

struct Job {
  std::string id = {};
  std::string name = {};
  std::string status = {};
  std::vector<std::string> needs = {};
  std::int64_t attempt = 0;
  std::string reason = {};
  std::string detail = {};       // the sentence beside the reason
  std::string waiting_for = {};
  std::string isolation = {};    // what its runner runs under; empty: none yet
  std::optional<Time> held_until = {};  // it has failed, and waits for people
  bool allow_failure = false;
  std::optional<Time> start_time = {};
  std::optional<Time> end_time = {};
  std::vector<Step> steps = {};
  std::optional<TestCounts> tests = {};

  bool operator==(const Job&) const = default;
};

struct Build {
  std::string id = {};
  std::int64_t number = 0;
  std::string project_id = {};
  std::string status = {};
  std::int64_t sequence = 0;
  std::string trigger_type = {};
  std::string ref = {};
  std::string commit_sha = {};
  std::string message = {};
  std::string author = {};
  std::string url = {};                  // its page
  std::optional<Time> created_at = {};
  std::optional<Time> start_time = {};
  std::optional<Time> end_time = {};
  std::vector<std::string> errors = {};  // of the pipeline: "file:line:column: what: hint"
  std::vector<Job> jobs = {};            // empty in lists
  std::string json = {};

  bool operator==(const Build&) const = default;
};

struct Project {
  std::string id = {};
  std::string name = {};
  std::string repo_url = {};
  std::string organization = {};
  std::string json = {};
};

struct Artifact {
  std::string id = {};
  std::string job = {};
  std::string path = {};
  std::int64_t size = 0;
  std::string sha256 = {};  // hex
  std::optional<Time> expires_at = {};
  std::string json = {};
};

struct PoolAmounts {
  std::int64_t cpu_milli = 0;
  std::int64_t memory_bytes = 0;
  std::int64_t slots = 0;

  bool operator==(const PoolAmounts&) const = default;
};

struct Pool {
  std::string name = {};
  std::string state = {};                    // active, draining, drained, silent
  std::string executor = {};
  std::vector<std::string> labels = {};
  std::vector<std::string> isolations = {};
  PoolAmounts capacity = {};
  std::optional<PoolAmounts> used = {};      // nothing while nobody schedules
  std::int64_t running = 0;
  std::int64_t assigned = 0;
  std::optional<std::int64_t> waiting = {};
  std::int64_t warm = 0;
  std::string keeper = {};
  std::string json = {};

  bool operator==(const Pool&) const = default;
};

template <class T>
struct Page {
  std::vector<T> items;
  std::optional<std::string> next;  // the cursor of what follows
};

/// True for statuses that never change again, of builds, jobs and steps.
bool has_ended(std::string_view status);

// Readers of answers. Errc::invalid: the answer is not what this program knows; what is absent stays empty.
Result<Build> build_from_json(std::string_view text);
Result<Page<Build>> builds_from_json(std::string_view text);
Result<Page<Project>> projects_from_json(std::string_view text);
Result<Project> project_from_json(std::string_view text);
Result<Page<Artifact>> artifacts_from_json(std::string_view text);
Result<Page<Pool>> pools_from_json(std::string_view text);
Result<Pool> pool_from_json(std::string_view text);
Result<Page<std::string>> names_from_json(std::string_view text);  // strings, or objects with a `name`
Result<std::string> string_field(std::string_view text, std::string_view field);

}  // namespace mayfly::cli
