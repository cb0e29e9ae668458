#pragma once
// From "something happened to a repository" to a build: fetch the commit, read its pipeline, plan it.

#include <optional>
#include <string>
#include <vector>

#include "ports/clock.h"
#include "ports/forge.h"
#include "roles/builds/records.h"
#include "roles/common/projects.h"

namespace mayfly {

/// A wish for a build, from a webhook or from a person.
struct BuildRequest {
  Project project;
  TriggerEvent event;                  // sha filled in
  std::string before;                  // of a push: what the ref named until then; empty when unknown
  std::optional<std::string> meaning;  // of the webhook
  std::string message;                 // empty: the commit's own
  std::string author;
  std::vector<std::string> only;       // jobs asked for, with what they need; empty: all
};

struct PlannedBuild {
  std::optional<BuildRecord> build;    // ready for Builds::create
  std::string why_not;                 // a sentence, when there is none to make
};

/// A pipeline with errors gives a build that carries them. Errc::not_found: there is no such commit; Errc::unavailable:
/// the repository cannot be reached now.
Task<Result<PlannedBuild>> plan_build(Forge& forge, Clock& clock, Entropy& entropy, BuildRequest request);

}  // namespace mayfly
