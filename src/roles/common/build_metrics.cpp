#include "roles/common/build_metrics.h"

namespace mayfly {
namespace {

constexpr std::string_view start_latency_name = "mayfly_start_latency_seconds";

void observe(Metrics& metrics, Hop hop, std::optional<Duration> took) {
  if (took && *took >= Duration{}) metrics.observe(start_latency_name, *took, {{"hop", to_string(hop)}});
}

}  // namespace

void count_change(Metrics& metrics, const BuildState& build, const Effects& effects) {
  if (!effects.steps_only)
    for (auto i : effects.changed) {
      auto& job = build.jobs[i];
      auto latency = start_latency({}, job);
      if (job.status == JobStatus::assigned) observe(metrics, Hop::queue, latency.of(Hop::queue));
      if (job.status != JobStatus::running) continue;
      observe(metrics, Hop::assign, latency.of(Hop::assign));
      observe(metrics, Hop::start, latency.of(Hop::start));
    }
  for (auto i : effects.first_bytes)
    if (auto& job = build.jobs[i]; job.start_time && job.first_byte_at) observe(metrics, Hop::first_byte, *job.first_byte_at - *job.start_time);
  for (auto& ended : effects.ended)
    metrics.count("mayfly_attempts_total", {{"outcome", to_string(ended.outcome)}, {"reason", to_string(ended.reason)}});
  if (effects.build_changed && is_terminal(build.status)) metrics.count("mayfly_builds_total", {{"status", to_string(build.status)}});
}

void count_origin(Metrics& metrics, const BuildOrigin& origin, Time built) {
  if (!origin.planned_from) return;
  if (origin.received_at) observe(metrics, Hop::webhook, *origin.planned_from - *origin.received_at);
  observe(metrics, Hop::plan, built - *origin.planned_from);
}

}  // namespace mayfly
