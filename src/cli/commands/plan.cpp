#include <filesystem>

#include "adapters/git/git_forge.h"
#include "base/json.h"
#include "cli/checkout.h"
#include "cli/commands/commands.h"
#include "cli/offline.h"
#include "cli/render/plan_view.h"
#include "cli/run_loop.h"
#include "cli/scratch.h"

namespace mayfly::cli {
namespace {

Task<Result<void>> hash_files(TriggerEvent& event, std::vector<std::string> globs, std::string repository, std::string mirrors, std::string sha) {
  auto reads = make_inline_offload();
  GitForge forge(*reads, mirrors);
  for (auto& glob : globs) {
    CO_TRY_ASSIGN(auto lines, co_await forge.tree_hashes(repository, sha, {glob}));
    auto& joined = event.file_hashes[glob];
    for (auto& line : lines) joined += line + "\n";
  }
  co_return Result<void>();
}

/// What hash_files() will say: of the working tree, like everything here.
Result<void> look_up_hashes(TriggerEvent& event, const Checkout& checkout, const std::vector<PipelineFile>& files) {
  auto globs = hash_globs(files, plan_options());
  if (globs.empty()) return {};
  Scratch scratch;
  auto bare = scratch.path() + "/source.git";
  TRY_ASSIGN(auto sha, checkout.snapshot(bare, event.ref));
  Result<void> result;
  run_on_loop([&](Loop) -> Task<int> {
    result = co_await hash_files(event, globs, bare, scratch.path() + "/mirrors", sha);
    co_return done;
  });
  return result;
}

}  // namespace

Result<int> execute(World& world, bool json, const ShowPlan& options) {
  TRY_ASSIGN(auto checkout, Checkout::open(world.directory));
  TRY_ASSIGN(auto files, checkout.pipeline_files());
  TRY_ASSIGN(auto event, event_of(options.event, checkout));
  if (!options.changed.empty()) event.changed_paths = options.changed;
  TRY(look_up_hashes(event, checkout, files));
  auto result = plan(files, event, plan_options());
  if (!result) {
    if (json) world.console.out(problems_json(result.error()) + "\n");
    else
      for (auto& problem : result.error()) world.console.out(harmless(to_string(problem)) + "\n");
    return said_no;
  }
  Style style{.colour = world.console.colour(), .width = world.console.width()};
  if (!result->plan)
    world.console.out(json ? json::serialize(json::object{{"jobs", json::array{}}, {"no_build", result->no_build}}) + "\n"
                           : "No build: " + harmless(result->no_build) + "\n");
  else
    world.console.out(json ? plan_json(*result->plan, result->event) + "\n" : plan_text(*result->plan, result->event, style));
  return done;
}

}  // namespace mayfly::cli
