// What is decided after the plan was made: when the needs of a job have ended, and before each of its steps.
#include "domain/pipeline/planner.h"

namespace mayfly {
namespace {

Result<void> interpolate_all(Env& env, const ExpressionContext& context) {
  for (auto& [name, value] : env) {
    if (!value.contains("${{")) continue;
    auto text = interpolate(value, context);
    if (!text) return fail(text.error().code, "env " + name + ": " + text.error().message, text.error().hint);
    if (text->size() > max_env_value_bytes)
      return fail(Errc::too_large, "env " + name + " has " + std::to_string(text->size()) + " bytes, more than " + std::to_string(max_env_value_bytes), "hand it on as a file");
    value = *std::move(text);
  }
  return {};
}

}  // namespace

Result<bool> decide_job(const JobSpec& job, const TriggerEvent& event, const Needs& needs, Standing standing) {
  if (job.skipped) return false;
  if (job.condition.empty()) return standing == Standing::success;
  ExpressionContext context{.event = event, .matrix = job.matrix, .needs = needs, .standing = standing};
  auto resolved = job.env;
  TRY(interpolate_all(resolved, context));
  context.env = std::move(resolved);
  return evaluate_condition(job.condition, context);
}

Result<JobSpec> resolve_env(JobSpec job, const TriggerEvent& event, const Needs& needs) {
  ExpressionContext context{.event = event, .matrix = job.matrix, .needs = needs};
  TRY(interpolate_all(job.env, context));
  context.env = job.env;
  for (auto& service : job.services) TRY(interpolate_all(service.env, context));
  for (auto& step : job.steps) {
    context.env = job.env;
    TRY(interpolate_all(step.env, context));
  }
  return job;
}

Result<bool> decide_step(const StepSpec& step, const JobSpec& job, const TriggerEvent& event, const Needs& needs, const Env& env, Standing standing) {
  if (step.condition.empty()) return standing == Standing::success;
  return evaluate_condition(step.condition, {.event = event, .env = env, .matrix = job.matrix, .needs = needs, .standing = standing});
}

}  // namespace mayfly
