#pragma once
// Parts of the language a server may not run yet. They are parsed and checked like all the rest, and refused by name and
// place when a build is planned: never ignored.

#include <optional>
#include <set>
#include <string_view>

namespace mayfly {

enum class Feature {
  id_tokens,
  environment,
  inputs,          // of a job: skipping it
  cache,
  schedule,
  concurrency,
  interruptible,
};

/// "services", as it is written in a pipeline.
std::string_view to_string(Feature);
/// What to do without it, as a hint.
std::string_view instead_of(Feature);

std::set<Feature> all_features();

}  // namespace mayfly
