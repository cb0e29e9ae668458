#include "domain/build/latency.h"

#include <algorithm>

#include "domain/names.h"

namespace mayfly {
namespace {

constexpr Name<Hop> names[] = {{Hop::webhook, "webhook"}, {Hop::plan, "plan"},   {Hop::queue, "queue"},
                               {Hop::assign, "assign"},   {Hop::start, "start"}, {Hop::first_byte, "first_byte"}};

}  // namespace

std::string_view to_string(Hop hop) { return name_of(names, hop); }

StartLatency start_latency(const BuildOrigin& origin, const JobState& job) {
  bool waits = job.status == JobStatus::waiting || job.status == JobStatus::queued;
  bool first = job.needs.empty() && job.attempt <= (waits ? 0 : 1);
  auto queued = job.queued_at.transform([&](Time t) { return std::max(t, job.not_before); });
  bool assigned = job.attempt > 0 && !waits;   // what is left of an earlier attempt does not count
  auto known = [](bool reached, std::optional<Time> t) { return reached ? t : std::nullopt; };
  // Each hop ends at its instant; what comes before the first known one is no hop of this job.
  std::optional<Time> at = known(first, origin.received_at);
  StartLatency out;
  std::optional<Time> begin = at;
  auto step = [&](Hop hop, std::optional<Time> instant) {
    if (!instant) return;
    auto end = at ? std::max(*at, *instant) : *instant;
    if (at) out.hop[std::size_t(hop)] = end - *at;
    else begin = end;
    at = end;
  };
  step(Hop::webhook, known(first, origin.planned_from));
  step(Hop::plan, queued);
  step(Hop::queue, known(assigned, job.assigned_at));
  step(Hop::assign, known(assigned, job.born_at));
  step(Hop::start, known(assigned, job.start_time));
  step(Hop::first_byte, known(assigned, job.first_byte_at));
  if (assigned && job.first_byte_at && begin) out.total = *at - *begin;
  return out;
}

}  // namespace mayfly
