#pragma once
// What /metrics says of builds, read off the changes the state machine reports: how long each hop of a start took, and how
// attempts and builds ended.

#include "domain/build/state.h"
#include "roles/common/metrics.h"

namespace mayfly {

void count_change(Metrics& metrics, const BuildState& build, const Effects& effects);

}  // namespace mayfly
