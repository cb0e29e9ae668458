#include "domain/pipeline/triggers.h"

#include <algorithm>

#include "domain/pipeline/glob.h"

namespace mayfly {
namespace {

using Answer = Listening::Answer;

constexpr std::string_view branch_prefix = "refs/heads/";
constexpr std::string_view tag_prefix = "refs/tags/";

Listening no(const Pipeline& pipeline, std::string why) { return {Answer::no, pipeline.file + " " + std::move(why)}; }

/// Bytes of changed paths times patterns that are worth looking at.
constexpr std::size_t most_filter_work = 64 << 20;

bool is_too_much(const std::vector<std::string>& changed, const FilterDef& filter, std::size_t most) {
  std::size_t bytes = 0;
  for (auto& path : changed) bytes += path.size();
  return changed.size() > most || bytes * filter.paths.size() > most_filter_work;
}

Listening by_paths(const Pipeline& pipeline, const FilterDef& filter, const TriggerEvent& event, std::size_t most) {
  auto& changed = event.changed_paths;
  if (filter.paths.empty() || !changed || is_too_much(*changed, filter, most)) return {};
  Filter paths(filter.paths);
  if (std::ranges::any_of(*changed, [&](auto& path) { return paths.matches(path); })) return {};
  return {Answer::filtered, "none of the " + std::to_string(changed->size()) + " changed files matches on." + event.event + ".paths of " + pipeline.file};
}

std::string no_match(const Pipeline& pipeline, const std::vector<std::string>& patterns, std::string_view what) {
  auto key = "on.push." + std::string(what);
  if (!pipeline.on.written) return "it has no `on`, and " + std::string(what) + " are built only when it says so";
  return patterns.empty() ? "`on.push` has no " + std::string(what) : key + " does not match it";
}

Listening to_push(const Pipeline& pipeline, const TriggerEvent& event, std::size_t most) {
  if (!pipeline.on.push) return no(pipeline, "does not listen to pushes: `push` is not under its `on`");
  auto& filter = *pipeline.on.push;
  std::string_view ref = event.ref;
  bool open = filter.branches.empty() && filter.tags.empty();
  if (ref.starts_with(tag_prefix)) {
    auto tag = ref.substr(tag_prefix.size());
    if (open || matches_filter(filter.tags, tag)) return {};
    return no(pipeline, "does not listen to the tag '" + std::string(tag) + "': " + no_match(pipeline, filter.tags, "tags"));
  }
  auto branch = ref.starts_with(branch_prefix) ? ref.substr(branch_prefix.size()) : ref;
  if (open || matches_filter(filter.branches, branch)) return by_paths(pipeline, filter, event, most);
  return no(pipeline, "does not listen to the branch '" + std::string(branch) + "': " + no_match(pipeline, filter.branches, "branches"));
}

Listening to_pull_request(const Pipeline& pipeline, const TriggerEvent& event, std::size_t most) {
  if (!pipeline.on.pull_request) return no(pipeline, "does not listen to pull requests: `pull_request` is not under its `on`");
  auto& filter = *pipeline.on.pull_request;
  std::string_view base = event.base_ref;
  if (base.starts_with(branch_prefix)) base.remove_prefix(branch_prefix.size());
  if (!filter.branches.empty() && !matches_filter(filter.branches, base))
    return no(pipeline, "does not listen to pull requests into '" + std::string(base) + "': on.pull_request.branches does not match it");
  if (event.fork && pipeline.on.forks == ForkPolicy::never) return no(pipeline, "never builds forks: on.pull_request.forks is never");
  if (event.fork && pipeline.on.forks == ForkPolicy::approve)
    return no(pipeline, "builds forks after approval only, and approvals are not there yet: push the branch to this repository, or write forks: trusted");
  return by_paths(pipeline, filter, event, most);
}

}  // namespace

Listening listens(const Pipeline& pipeline, const TriggerEvent& event, std::size_t most_changed_paths) {
  if (event.event == "push") return to_push(pipeline, event, most_changed_paths);
  if (event.event == "pull_request") return to_pull_request(pipeline, event, most_changed_paths);
  if (event.event == "manual" && !pipeline.on.manual) return no(pipeline, "is not started by hand: `manual` is not under its `on`");
  if (event.event == "manual") return {};
  return no(pipeline, "does not listen to the event '" + event.event + "'");
}

}  // namespace mayfly
