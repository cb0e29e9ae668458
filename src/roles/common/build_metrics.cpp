#include "roles/common/build_metrics.h"

namespace mayfly {
namespace {

constexpr std::string_view start_latency = "mayfly_start_latency_seconds";

void observe_hop(Metrics& metrics, std::string_view hop, std::optional<Time> from, std::optional<Time> to) {
  if (from && to && *to >= *from) metrics.observe(start_latency, *to - *from, {{"hop", hop}});
}

}  // namespace

void count_change(Metrics& metrics, const BuildState& build, const Effects& effects) {
  if (!effects.steps_only)
    for (auto i : effects.changed) {
      auto& job = build.jobs[i];
      if (job.status == JobStatus::assigned) observe_hop(metrics, "queue", std::max(job.queued_at.value_or(Time{}), job.not_before), job.assigned_at);
      if (job.status == JobStatus::running) observe_hop(metrics, "start", job.assigned_at, job.start_time);
    }
  for (auto& ended : effects.ended)
    metrics.count("mayfly_attempts_total", {{"outcome", to_string(ended.outcome)}, {"reason", to_string(ended.reason)}});
  if (effects.build_changed && is_terminal(build.status)) metrics.count("mayfly_builds_total", {{"status", to_string(build.status)}});
}

}  // namespace mayfly
