#pragma once
// Running again what has ended. Terminal states are final, so a retry is a new build of the same commit and plan; jobs that
// succeeded are not run again: they appear as `cached`, with the job that did the work behind them.

#include <string>
#include <vector>

#include "ports/clock.h"
#include "roles/builds/records.h"

namespace mayfly {

/// `jobs` by name, with everything that needs them; none means all that did not succeed (all of them if every one did).
/// Errc::conflict: the build has not ended, or could not be planned. Errc::not_found names the jobs that do not exist.
Result<BuildRecord> retry_of(const BuildRecord& build, const std::vector<std::string>& jobs, Clock& clock, Entropy& entropy);

}  // namespace mayfly
