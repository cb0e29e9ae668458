#pragma once
// A plan for people: which jobs would run, in which order, and why or why not.

#include <map>
#include <string>
#include <vector>

#include "cli/render/text.h"
#include "domain/pipeline/plan.h"

namespace mayfly::cli {

struct PlannedJob {
  const JobSpec* spec = nullptr;
  bool runs = true;       // provided that everything before it succeeds
  std::string why = {};   // a sentence
};

/// For each job whether it would run if all jobs before it succeeded.
std::vector<PlannedJob> predict(const Plan& plan, const TriggerEvent& event);

std::string plan_text(const Plan& plan, const TriggerEvent& event, const Style& style);

/// {"name", "event", "ref", "sha", "jobs": [{"name", "needs", "runs", "why", "image", "steps", …}]}
std::string plan_json(const Plan& plan, const TriggerEvent& event);

}  // namespace mayfly::cli
