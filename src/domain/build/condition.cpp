// What a build may ask of itself while it runs: whether a job goes ahead, and what its environment says of its needs.

#include <algorithm>

#include "domain/build/state.h"
#include "domain/pipeline/planner.h"

namespace mayfly {
namespace {

bool stands(const JobState& need) {
  return is_success(need.status) || (need.status == JobStatus::failed && need.spec->allow_failure);
}

/// The need that keeps a job without a condition from running, if there is one.
const JobState* obstacle(const BuildState& build, const JobState& job) {
  auto at = std::ranges::find_if(job.needs, [&](std::size_t n) { return !stands(build.jobs[n]); });
  return at == job.needs.end() ? nullptr : &build.jobs[*at];
}

/// failure() is about a need that failed; after one that was skipped or canceled neither success() nor failure() holds.
Standing standing_of(const BuildState& build, const JobState& job) {
  if (build.canceled) return Standing::canceled;
  auto failed = [&](std::size_t n) { return build.jobs[n].status == JobStatus::failed && !stands(build.jobs[n]); };
  if (std::ranges::any_of(job.needs, failed)) return Standing::failure;
  return obstacle(build, job) ? Standing::canceled : Standing::success;
}

Needs needs_of(const BuildState& build, const JobState& job) {
  Needs out;
  for (auto n : job.needs) {
    auto& need = build.jobs[n];
    out[need.spec->name] = {std::string(to_string(need.status)), need.outputs};
  }
  return out;
}

std::string_view what_became_of(const JobState& need) {
  switch (need.status) {
    case JobStatus::skipped: return "was skipped";
    case JobStatus::canceled: return "was canceled";
    default: return "failed";
  }
}

}  // namespace

Verdict judge(const BuildState& build, const JobState& job) {
  auto& spec = *job.spec;
  if (spec.skipped) return {false, Reason::filtered, spec.skip_reason};
  if (spec.condition.empty()) {
    auto* need = obstacle(build, job);
    if (!need) return {};
    return {false, Reason::needs_failed, "needs '" + need->spec->name + "', which " + std::string(what_became_of(*need))};
  }
  auto holds = decide_job(spec, build.event, needs_of(build, job), standing_of(build, job));
  if (!holds) return {false, Reason::pipeline, "its `if` cannot be decided: " + holds.error().message};
  if (*holds) return {};
  return {false, Reason::filtered, "its `if` is false: " + spec.condition};
}

Result<JobSpec> resolve_spec(const BuildState& build, const JobState& job) {
  return resolve_env(*job.spec, build.event, needs_of(build, job));
}

}  // namespace mayfly
