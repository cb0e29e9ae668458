#include "base/json.h"
#include "cli/checkout.h"
#include "cli/commands/commands.h"
#include "cli/offline.h"

namespace mayfly::cli {
namespace {

Result<std::vector<PipelineFile>> files_to_check(const World& world, const Lint& options) {
  if (options.files.empty()) {
    TRY_ASSIGN(auto checkout, Checkout::open(world.directory));
    return checkout.pipeline_files();
  }
  std::vector<PipelineFile> files;
  for (auto& path : options.files) {
    TRY_ASSIGN(auto file, read_pipeline_file(world.directory, path));
    files.push_back(std::move(file));
  }
  return files;
}

}  // namespace

Result<int> execute(World& world, bool json, const Lint& options) {
  TRY_ASSIGN(auto files, files_to_check(world, options));
  auto problems = lint(files, plan_options());
  if (json) {
    world.console.out(problems_json(problems) + "\n");
    return problems.empty() ? done : said_no;
  }
  for (auto& problem : problems) world.console.out(harmless(to_string(problem)) + "\n");
  if (problems.empty())
    for (auto& file : files) world.console.out(harmless(file.path) + ": no problems\n");
  return problems.empty() ? done : said_no;
}

}  // namespace mayfly::cli
