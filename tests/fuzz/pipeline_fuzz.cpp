// Any bytes as a pipeline: no crash, no hang, and what can be planned survives being stored.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "domain/pipeline/planner.h"
#include "domain/pipeline/yaml.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mayfly;
  std::string text(reinterpret_cast<const char*>(data), size);
  std::vector<PipelineFile> files{{".ci.yaml", text}};
  TriggerEvent event{.event = "push", .ref = "refs/heads/${{ sha }}", .sha = "abc", .changed_paths = {{"src/a"}}};
  for (auto& glob : hash_globs(files)) event.file_hashes[glob] = "a 1\n";
  PlanOptions everything{.unsupported = {}};
  auto problems = lint(files, everything);
  auto result = plan(files, event, everything);
  if (!problems.empty() && result) std::abort();  // what lint refuses is never planned
  for (auto& problem : problems)
    if (problem.line < 1 || problem.column < 1 || problem.message.empty()) std::abort();
  if (result && result->plan)
    for (auto& job : result->plan->jobs)
      if (job_spec_from_json(job_spec_to_json(job)) != job) std::abort();
  (void)yaml_to_json(text);
  return 0;
}
