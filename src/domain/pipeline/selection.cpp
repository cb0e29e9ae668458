#include "domain/pipeline/selection.h"

#include <algorithm>
#include <ranges>
#include <set>
#include <string_view>

#include "domain/pipeline/suggest.h"

namespace mayfly {

Result<void> keep_only(Plan& plan, const std::vector<std::string>& names) {
  std::set<std::string_view> wanted;
  for (auto& name : names) {
    auto before = wanted.size();
    for (auto& job : plan.jobs)
      if (job.name == name || job.base_name == name) wanted.insert(job.name);
    if (wanted.size() > before || wanted.contains(name)) continue;
    std::vector<std::string_view> known;
    for (auto& job : plan.jobs) known.push_back(job.base_name);
    known.erase(std::unique(known.begin(), known.end()), known.end());
    return fail(Errc::invalid, "the pipeline has no job '" + name + "'", suggestion(name, known));
  }
  for (auto& job : plan.jobs | std::views::reverse)
    if (wanted.contains(job.name)) wanted.insert(job.needs.begin(), job.needs.end());
  for (auto& job : plan.jobs) {
    if (wanted.contains(job.name) || job.skipped) continue;
    job.skipped = true;
    job.skip_reason = "not asked for";
  }
  return {};
}

}  // namespace mayfly
