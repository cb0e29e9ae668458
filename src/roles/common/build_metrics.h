#pragma once
// What /metrics says of builds, read off the changes the state machine reports: how long each hop of a start took, and how
// attempts and builds ended. Each by the process that stored the change, so each is counted once.

#include "domain/build/latency.h"
#include "domain/build/state.h"
#include "roles/common/metrics.h"

namespace mayfly {

void count_change(Metrics& metrics, const BuildState& build, const Effects& effects);
/// Of a build that was stored at `built`.
void count_origin(Metrics& metrics, const BuildOrigin& origin, Time built);

}  // namespace mayfly
