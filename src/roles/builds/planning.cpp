#include "roles/builds/planning.h"

#include <algorithm>

#include "domain/pipeline/planner.h"
#include "domain/pipeline/selection.h"

namespace mayfly {
namespace {

PlanOptions server_plan_options() { return {}; }

/// Whether what changed may matter: reading it costs a fetch. May say yes for nothing.
bool has_path_filters(const std::vector<PipelineFile>& files) {
  return std::ranges::any_of(files, [](auto& file) { return file.content.find("paths") != std::string::npos; });
}

std::vector<PipelineFile> pipeline_files(Snapshot& snapshot) {
  std::vector<PipelineFile> out;
  for (auto& file : snapshot.pipeline_files) out.push_back({file.path, std::move(file.content)});
  return out;
}

BuildRecord new_build(Clock& clock, Entropy& entropy, const BuildRequest& request, const Snapshot& snapshot) {
  BuildRecord record;
  auto& h = record.header;
  auto& s = record.state;
  h.id = s.id = make_id<BuildId>(clock, entropy);
  h.project = s.project = request.project.id;
  h.organization = s.organization = request.project.organization;
  h.trigger_type = request.event.event;
  h.ref = request.event.ref;
  h.commit_sha = snapshot.commit.sha;
  h.message = request.message.empty() ? snapshot.commit.message : request.message;
  h.author = request.author.empty() ? snapshot.commit.author : request.author;
  h.meaning = request.meaning;
  s.event = request.event;
  s.event.sha = snapshot.commit.sha;
  s.created_at = clock.now();
  return record;
}

void refuse_reserved_secrets(const Plan& plan, const std::string& file, std::vector<Diagnostic>& errors) {
  for (auto& job : plan.jobs)
    for (auto& name : job.secrets)
      if (name.starts_with(reserved_secret_prefix))
        errors.push_back({file, 1, 1, "job '" + job.name + "' asks for the secret " + name, "names that begin with MAYFLY_ are the server's own"});
}

/// What a build's changes are counted from: of a pull request where it left its base, so that what others did there since is not its own.
Task<Result<std::string>> changed_since(Forge& forge, const BuildRequest& request) {
  if (!request.event.pull_request) co_return request.before;
  CO_TRY_ASSIGN(auto base, co_await forge.merge_base(request.project.repo_url, request.before, request.event.sha));
  co_return base.value_or(request.before);
}

}  // namespace

Task<Result<PlannedBuild>> plan_build(Forge& forge, Clock& clock, Entropy& entropy, BuildRequest request) {
  auto began = clock.now();
  auto& url = request.project.repo_url;
  CO_TRY_ASSIGN(auto snapshot, co_await forge.snapshot(url, request.event.sha, request.event.ref));
  request.event.sha = snapshot.commit.sha;
  if (snapshot.pipeline_files.empty())
    co_return PlannedBuild{std::nullopt, "commit " + snapshot.commit.sha.substr(0, 12) + " has neither .ci.yaml nor .ci/*.yaml"};
  auto files = pipeline_files(snapshot);
  if (!request.before.empty() && has_path_filters(files)) {
    CO_TRY_ASSIGN(auto since, co_await changed_since(forge, request));
    CO_TRY_ASSIGN(request.event.changed_paths, co_await forge.changed_paths(url, since, snapshot.commit.sha));
  }
  for (auto& glob : hash_globs(files, server_plan_options())) {
    CO_TRY_ASSIGN(auto lines, co_await forge.tree_hashes(url, snapshot.commit.sha, {glob}));
    auto& joined = request.event.file_hashes[glob];
    for (auto& line : lines) joined += line + "\n";
  }
  auto record = new_build(clock, entropy, request, snapshot);
  record.header.origin.planned_from = began;
  auto planned = plan(files, request.event, server_plan_options());
  if (!planned) {
    record.header.errors = std::move(planned.error());
    co_return PlannedBuild{std::move(record), {}};
  }
  if (!planned->plan) co_return PlannedBuild{std::nullopt, planned->no_build};
  record.state.event = planned->event;
  record.state.event.changed_paths.reset();  // has done its work
  if (!request.only.empty()) CO_TRY(keep_only(*planned->plan, request.only));
  refuse_reserved_secrets(*planned->plan, files[0].path, record.header.errors);
  record.header.pipeline = planned->plan->name;
  for (auto& spec : planned->plan->jobs) {
    JobState job;
    job.id = make_id<JobId>(clock, entropy);
    for (auto& step : spec.steps) job.steps.push_back({.name = step.name});
    job.spec = std::make_shared<const JobSpec>(std::move(spec));
    record.state.jobs.push_back(std::move(job));
  }
  co_return PlannedBuild{std::move(record), {}};
}

}  // namespace mayfly
