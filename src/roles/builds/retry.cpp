#include "roles/builds/retry.h"

#include <algorithm>

namespace mayfly {
namespace {

Result<std::vector<bool>> to_run(const BuildState& build, const std::vector<std::string>& names) {
  std::vector<bool> run(build.jobs.size(), false);
  std::string unknown;
  for (auto& name : names) {
    bool found = false;
    for (std::size_t i = 0; i < build.jobs.size(); ++i)
      if (build.jobs[i].spec->name == name || build.jobs[i].spec->base_name == name) run[i] = found = true;
    if (!found) unknown += (unknown.empty() ? "'" : ", '") + name + "'";
  }
  if (!unknown.empty()) return fail(Errc::not_found, "the build has no job " + unknown);
  if (names.empty())
    for (std::size_t i = 0; i < build.jobs.size(); ++i) run[i] = !is_success(build.jobs[i].status);
  if (std::ranges::none_of(run, [](bool r) { return r; })) run.assign(run.size(), true);
  for (std::size_t i = 0; i < run.size(); ++i)  // needs come first
    run[i] = run[i] || !is_success(build.jobs[i].status) || std::ranges::any_of(build.jobs[i].needs, [&](auto n) { return run[n]; });
  return run;
}

JobState again(const JobState& before, bool run, Clock& clock, Entropy& entropy) {
  JobState job;
  job.id = make_id<JobId>(clock, entropy);
  job.spec = before.spec;
  for (auto& step : job.spec->steps) job.steps.push_back({.name = step.name});
  if (run) return job;
  job.status = JobStatus::cached;
  job.source_job = before.source_job.is_nil() ? before.id : before.source_job;
  job.outputs = before.outputs;
  job.tests = before.tests;
  job.steps = before.steps;
  job.detail = "done by job " + job.source_job.str();
  job.end_time = clock.now();
  return job;
}

}  // namespace

Result<BuildRecord> retry_of(const BuildRecord& build, const std::vector<std::string>& jobs, Clock& clock, Entropy& entropy) {
  if (!is_terminal(build.state.status)) return fail(Errc::conflict, "the build has not ended", "cancel it first, or wait");
  if (build.state.jobs.empty()) return fail(Errc::conflict, "the build could not be planned, so there is nothing to retry", "correct the pipeline and push");
  TRY_ASSIGN(auto run, to_run(build.state, jobs));
  BuildRecord record;
  auto& h = record.header;
  auto& s = record.state;
  h = build.header;
  h.id = s.id = make_id<BuildId>(clock, entropy);
  h.trigger_type = "retry";
  h.meaning.reset();
  h.retry_of = build.header.id;
  s.project = h.project;
  s.organization = h.organization;
  s.event = build.state.event;
  s.created_at = clock.now();
  for (std::size_t i = 0; i < run.size(); ++i) s.jobs.push_back(again(build.state.jobs[i], run[i], clock, entropy));
  return record;
}

}  // namespace mayfly
