#include "cli/offline.h"

#include "base/json.h"

namespace mayfly::cli {
namespace {

constexpr std::string_view unborn = "0000000000000000000000000000000000000000";

}  // namespace

PlanOptions plan_options() { return {}; }

Result<TriggerEvent> event_of(const EventOptions& options, const Checkout& checkout) {
  TriggerEvent event{.event = options.event, .ref = options.ref, .sha = options.sha, .base_ref = options.base_ref, .inputs = options.inputs};
  if (event.event == "pull_request") {
    event.pull_request = 1;
    if (event.ref.empty()) event.ref = "refs/pull/1/head";
    if (event.base_ref.empty()) event.base_ref = "main";
  }
  if (event.ref.empty()) event.ref = checkout.ref().empty() ? "refs/heads/main" : checkout.ref();
  if (!event.ref.starts_with("refs/")) event.ref = "refs/heads/" + event.ref;
  if (event.sha.empty()) event.sha = checkout.head().empty() ? unborn : checkout.head();
  return event;
}

std::string problems_json(const std::vector<Diagnostic>& problems) {
  json::array items;
  for (auto& p : problems)
    items.push_back(json::object{{"file", p.file}, {"line", p.line}, {"column", p.column}, {"message", p.message}, {"hint", p.hint}});
  return json::serialize(json::object{{"problems", std::move(items)}});
}

}  // namespace mayfly::cli
