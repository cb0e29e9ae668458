#pragma once
// Lists of builds, newest first, a keyset page at a time.

#include <optional>
#include <string>
#include <vector>

#include "ports/database.h"
#include "roles/gateway/views.h"

namespace mayfly {

struct BuildFilter {
  std::optional<ProjectId> project;
  std::optional<BuildStatus> status;
  std::optional<std::string> ref;        // as stored, or a branch's or tag's bare name
  std::optional<std::string> trigger;
};

Task<Result<std::vector<BuildSummary>>> list_builds(Database& db, BuildFilter filter, std::optional<BuildId> before, std::int64_t limit);

}  // namespace mayfly
