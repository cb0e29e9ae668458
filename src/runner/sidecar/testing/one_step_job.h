#pragma once
// The simplest job a runner can be given, for tests of whole programs.

#include <string>
#include <utility>

#include "domain/runner/protocol.h"

namespace mayfly {

/// One step, "run", that is this script; without source.
inline RunnerJob job_of(std::string script) {
  RunnerJob job;
  job.spec.name = job.spec.base_name = "test";
  StepSpec step;
  step.name = "run";
  step.run = std::move(script);
  job.spec.steps = {step};
  job.source.checkout.enabled = false;
  job.event.event = "push";
  return job;
}

}  // namespace mayfly
