#pragma once
// A pipeline after planning: what will run for one event at one commit. Values only; the rest of Mayfly (state machine,
// scheduler, runner) knows jobs by these and never sees YAML.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "domain/build/reason.h"
#include "domain/pipeline/isolation.h"

namespace mayfly {

using Env = std::map<std::string, std::string>;

enum class Priority { low, normal, high };
enum class ArtifactsWhen { success, failure, always };

struct StepSpec {
  std::string name;            // shown to people; the command's first line if it has none
  std::string run;             // the script
  std::string shell;           // "sh", "bash" or a path; empty: bash if the image has it, else sh
  Env env;                     // in a plan: only needs.* is left in it, for resolve_env (planner.h); a runner gets plain values
  std::string condition;       // `if`, for decide_step (planner.h) in the runner; empty: success()
  std::optional<Duration> timeout;
  bool finally = false;        // from `finally`: runs whatever happened

  bool operator==(const StepSpec&) const = default;
};

struct ArtifactsSpec {
  std::vector<std::string> paths;  // globs under the workspace
  std::optional<Duration> expire;
  ArtifactsWhen when = ArtifactsWhen::success;

  bool operator==(const ArtifactsSpec&) const = default;
};

struct CheckoutSpec {
  bool enabled = true;
  int depth = 1;               // 0: the whole history
  bool submodules = false;

  bool operator==(const CheckoutSpec&) const = default;
};

struct RetrySpec {
  int max = 0;                 // extra attempts the user pays for; infrastructure retries are free besides
  bool on_failure = true;      // retry a command that said no
  bool on_timeout = true;
  bool on_oom = true;

  bool operator==(const RetrySpec&) const = default;
};

/// A server beside a job, in the job's own network.
struct ServiceSpec {
  std::string name;            // the host name the job reaches it by
  std::string image;
  std::string run;             // for `sh -c`, instead of the image's entrypoint and command; empty: those
  Env env;                     // as StepSpec::env
  std::string ready;           // for `sh -c`, in it, until it succeeds, before the job's first step; empty: ready once started

  bool operator==(const ServiceSpec&) const = default;
};

struct JobSpec {
  std::string name;            // unique in the build: "test (postgres:15, 1)"
  std::string base_name;       // as written: "test"
  std::vector<std::string> needs;      // names (after expansion) of the jobs it waits for
  std::map<std::string, std::string> matrix;
  int max_parallel = 0;        // of its matrix, 0: no limit
  bool fail_fast = true;       // of its matrix
  std::string condition;       // `if`, for decide_job (planner.h) when its needs have ended; empty: success()
  bool skipped = false;        // left out when planned (filters); reports `skipped`
  std::string skip_reason;     // a sentence
  std::string image = "host";
  std::optional<Isolation> isolation;  // at least this; nullopt: the pool's floor decides
  std::vector<ServiceSpec> services;
  bool network = true;
  std::int64_t cpu_milli = 1000;
  std::int64_t memory_bytes = std::int64_t(1) << 30;
  std::int64_t disk_bytes = std::int64_t(4) << 30;
  Duration timeout = std::chrono::minutes(60);
  RetrySpec retry;
  Env env;                     // as StepSpec::env
  std::vector<StepSpec> steps;         // `finally` steps last
  std::vector<std::string> secrets;
  std::vector<std::string> outputs;    // paths handed to the jobs that need it
  ArtifactsSpec artifacts;
  std::vector<std::string> junit;      // globs
  CheckoutSpec checkout;
  bool allow_failure = false;
  Duration hold{};             // a step that fails makes the job wait so long for a shell: asked for with the build, not in the pipeline
  Priority priority = Priority::normal;
  std::vector<std::string> runs_on;    // labels a pool must have

  bool operator==(const JobSpec&) const = default;
};

struct Plan {
  std::string name;
  std::vector<JobSpec> jobs;   // in an order where needs come first

  bool operator==(const Plan&) const = default;
};

/// One thing wrong with a pipeline, in the terms of its author.
struct Diagnostic {
  std::string file;
  int line = 0;    // from 1
  int column = 0;  // from 1
  std::string message;
  std::string hint;

  bool operator==(const Diagnostic&) const = default;
};

/// ".ci.yaml:12:5: unknown key 'step': did you mean 'steps'?"
std::string to_string(const Diagnostic&);

/// What happened, as far as a pipeline may ask.
struct TriggerEvent {
  std::string event = "push";          // push | pull_request | schedule | manual
  std::string ref = {};                     // refs/heads/main, refs/tags/v1, refs/pull/7/head
  std::string sha = {};
  std::string base_ref = {};                // of a pull request: the branch it wants to go to ("main")
  std::optional<std::int64_t> pull_request = {};
  bool fork = false;
  std::map<std::string, std::string> inputs = {};
  /// nullopt: not known, every path filter matches.
  std::optional<std::vector<std::string>> changed_paths = {};
  /// For hash_files(): "path hash" lines, see Forge::tree_hashes. Looked up by the glob as written.
  std::map<std::string, std::string> file_hashes = {};

  bool operator==(const TriggerEvent&) const = default;
};

std::string to_string(Priority);
std::string to_string(ArtifactsWhen);

/// The stored and transmitted form of a job ("jobs.spec"): JSON, and back. Errc::corrupt if it is not ours.
std::string job_spec_to_json(const JobSpec&);
Result<JobSpec> job_spec_from_json(std::string_view);
std::string services_to_json(const std::vector<ServiceSpec>&);
Result<std::vector<ServiceSpec>> services_from_json(std::string_view);

}  // namespace mayfly
