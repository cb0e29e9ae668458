#include <gtest/gtest.h>

#include "base/log.h"
#include "simulation/world.h"

namespace mayfly::simulation {
namespace {

TEST(SimulationOnPostgres, KeepsItsPromises) {
  set_log_level(Level::error);
  for (auto& faults : {scenarios[0], scenarios[std::size(scenarios) - 1]}) {  // a calm one, and one of the worst
    auto report = simulate(1, faults, 3);
    for (auto& violation : report.violations) ADD_FAILURE() << faults.name << ": " << violation;
    EXPECT_GT(report.builds, 0) << faults.name;
  }
}

}  // namespace
}  // namespace mayfly::simulation
