#pragma once
// The way in: from the pipeline files of a commit and what happened to the jobs of a build. Pure: the same files, event
// and options give the same answer.
//
//   hash_globs(files)  → what the caller must look up into TriggerEvent::file_hashes first (often nothing)
//   plan(files, event) → jobs, or why there is no build, or everything that is wrong with the files
//   lint(files)        → everything that is wrong with the files, whatever happens
//
// Later, when a job's needs have ended: decide_job, then resolve_env. In the runner, before each step: decide_step.

#include <expected>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "domain/pipeline/expression.h"
#include "domain/pipeline/feature.h"
#include "domain/pipeline/plan.h"

namespace mayfly {

struct PipelineFile {
  std::string path;     // ".ci.yaml", ".ci/test.yaml": positions name it
  std::string content;

  bool operator==(const PipelineFile&) const = default;
};

inline constexpr std::size_t max_env_value_bytes = 100'000;    // what a process can be started with
inline constexpr std::size_t max_matrix_value_bytes = 256;     // it is part of the job's name

struct PlanLimits {
  std::size_t file_bytes = 1 << 20;          // "file"
  std::size_t expansion_bytes = 10 << 20;    // "expansion": with aliases followed
  std::size_t depth = 64;                    // "depth": maps and lists in one another
  std::size_t jobs = 10'000;                 // "jobs": of a build, after matrix expansion
  std::size_t matrix = 1'000;                // "matrix": combinations of one job
  std::size_t plan_bytes = 64 << 20;         // "plan": all jobs together
  std::size_t expressions = 1'000'000;       // "expressions": evaluated while planning
  std::size_t changed_paths = 10'000;        // more than these: every path filter matches
  std::size_t diagnostics = 100;             // told at once
};

struct PlanOptions {
  PlanLimits limits = {};
  std::set<Feature> unsupported = all_features();  // what this server cannot run yet
};

struct PlanResult {
  std::optional<Plan> plan;   // nullopt: there is no build
  std::string no_build;       // then: why, in a sentence
  TriggerEvent event;         // with the defaults of inputs: what later evaluations are handed
};

/// Files of one commit as one build.
std::expected<PlanResult, std::vector<Diagnostic>> plan(const std::vector<PipelineFile>& files, const TriggerEvent& event, const PlanOptions& options = {});

/// Everything wrong with the files as they stand, unsupported features included; empty if nothing is.
std::vector<Diagnostic> lint(const std::vector<PipelineFile>& files, const PlanOptions& options = {});

/// The globs that hash_files() is called with.
std::vector<std::string> hash_globs(const std::vector<PipelineFile>& files, const PlanOptions& options = {});

using Needs = std::map<std::string, NeedState>;

/// Whether a job is to run, its needs having ended so. Errc::invalid if its `if` cannot be evaluated.
Result<bool> decide_job(const JobSpec& job, const TriggerEvent& event, const Needs& needs, Standing standing);

/// The job with all of its env known: what the runner gets. Call it once, before the job's first attempt is handed out.
/// Errc::invalid if something in it cannot be evaluated; Errc::too_large past max_env_value_bytes.
Result<JobSpec> resolve_env(JobSpec job, const TriggerEvent& event, const Needs& needs);

/// Whether a step is to run. `env` is what its environment holds now ($CI_ENV included), `standing` what the steps
/// before it came to. Errc::invalid if its `if` cannot be evaluated.
Result<bool> decide_step(const StepSpec& step, const JobSpec& job, const TriggerEvent& event, const Needs& needs, const Env& env, Standing standing);

}  // namespace mayfly
