#pragma once
// The whole system in one thread on virtual time: the same roles as the server, over a database that survives and a server
// that does not. From a seed; the same seed gives the same run.

#include <memory>
#include <string>
#include <vector>

#include "simulation/faults.h"
#include "simulation/runners.h"

namespace mayfly::simulation {

struct Report {
  std::vector<std::string> violations;   // of the invariants; empty is good
  std::string trace;                     // what happened, for comparing two runs of a seed
  int builds = 0, crashes = 0, attempts = 0;
};

/// `deliveries` webhooks within a minute, some of them twice, some builds canceled; then calm until all has ended.
Report simulate(std::uint64_t seed, const Faults& faults, int deliveries = 12);

}  // namespace mayfly::simulation
