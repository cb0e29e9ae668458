#pragma once
// Some jobs of a plan instead of all: for somebody who runs one job on their own machine.

#include <string>
#include <vector>

#include "domain/pipeline/plan.h"

namespace mayfly {

/// Leaves out (as skipped) every job that is none of `names` and that none of them needs. A name is a job's as written, which
/// means all of its matrix, or as expanded. Errc::invalid for a name no job has.
Result<void> keep_only(Plan& plan, const std::vector<std::string>& names);

}  // namespace mayfly
