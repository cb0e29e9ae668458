#pragma once
// What `lint`, `plan` and `run` have in common: what the server can run, and what they pretend happened.

#include <string>
#include <vector>

#include "cli/arguments.h"
#include "cli/checkout.h"
#include "domain/pipeline/planner.h"

namespace mayfly::cli {

/// The same as the server's.
PlanOptions plan_options();

/// What is told of the event, the rest as the checkout has it. Errc::invalid: a sha or ref that is none.
Result<TriggerEvent> event_of(const EventOptions& options, const Checkout& checkout);

/// {"problems": [{"file", "line", "column", "message", "hint"}]}
std::string problems_json(const std::vector<Diagnostic>& problems);

}  // namespace mayfly::cli
