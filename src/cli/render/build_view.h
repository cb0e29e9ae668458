#pragma once
// A build as people see it in a terminal: one line a job under the job it waited for, what changed since the last look, and
// the verdict. Pure: a build, an instant and a style in, text out.

#include <string>
#include <string_view>
#include <vector>

#include "cli/client/types.h"
#include "cli/render/text.h"

namespace mayfly::cli {

/// What the screen shows of a build at one instant; `project` is its name.
struct BuildScene {
  const Build& build;
  std::string_view project;
  Time now;
};

/// "✔", "●", … in the status's colour.
std::string glyph(std::string_view status, const Style& style);

/// "web#42  running  main 1a2b3c4  Add greeting  12s"
std::string headline(const BuildScene& scene, const Style& style);

/// The headline, what is wrong with the pipeline, and a line a job. With `max_lines`, jobs that have ended well go first
/// when there is not room for all; a last line counts what is not shown.
std::vector<std::string> build_tree(const BuildScene& scene, const Style& style, std::size_t max_lines = std::string::npos);

/// A line for each job, and the build itself, that is not as it was in `before` (nullptr: all are new).
std::vector<std::string> changes(const Build* before, const BuildScene& scene);

/// "web#42 failed in 12s: 6 succeeded, 1 failed, 2 skipped".
std::string verdict(const BuildScene& scene, const Style& style);

/// Jobs that made the build fail, in its order.
std::vector<const Job*> culprits(const Build& build);

/// "main" of "refs/heads/main", "v1" of "refs/tags/v1", "#7" of "refs/pull/7/head".
std::string short_ref(std::string_view ref);

/// Where a culprit went wrong: the step that did not succeed, or nullptr.
const Step* failed_step(const Job& job);

}  // namespace mayfly::cli
