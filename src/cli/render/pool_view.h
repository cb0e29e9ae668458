#pragma once
// Pools as a table for a terminal.

#include <string>
#include <vector>

#include "cli/client/types.h"
#include "cli/render/text.h"

namespace mayfly::cli {

std::string pool_table(const std::vector<Pool>& pools, const Style& style);

}  // namespace mayfly::cli
