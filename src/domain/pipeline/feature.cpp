#include "domain/pipeline/feature.h"

namespace mayfly {
namespace {

struct Row {
  Feature feature;
  std::string_view name;
  std::string_view instead;
};
constexpr Row rows[] = {
    {Feature::id_tokens, "id_tokens", "use secrets"},
    {Feature::environment, "environment", "start the deployment by hand: on: {manual: }"},
    {Feature::inputs, "inputs", "remove it: the job runs every time"},
    {Feature::cache, "cache", "hand files on with outputs"},
    {Feature::schedule, "schedule", "start the build from outside: on: {manual: }"},
    {Feature::concurrency, "concurrency", "remove it: builds run side by side"},
    {Feature::interruptible, "interruptible", "remove it: builds are canceled by people"},
};

const Row* row_of(Feature feature) {
  for (auto& row : rows)
    if (row.feature == feature) return &row;
  return nullptr;
}

}  // namespace

std::string_view to_string(Feature feature) { return row_of(feature)->name; }
std::string_view instead_of(Feature feature) { return row_of(feature)->instead; }

std::set<Feature> all_features() {
  std::set<Feature> all;
  for (auto& row : rows) all.insert(row.feature);
  return all;
}

}  // namespace mayfly
