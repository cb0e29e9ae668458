#include "cli/render/plan_view.h"

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

#include "base/json.h"
#include "cli/render/build_view.h"
#include "domain/pipeline/planner.h"

namespace mayfly::cli {
namespace {

/// Nothing when it depends on what jobs will say ($CI_OUTPUT).
std::optional<bool> decided(const JobSpec& job, const TriggerEvent& event, const Needs& needs) {
  auto run = decide_job(job, event, needs, Standing::success);
  return run ? std::optional(*run) : std::nullopt;
}

PlannedJob predict_job(const JobSpec& job, const TriggerEvent& event, const Needs& needs) {
  if (job.skipped) return {&job, false, job.skip_reason};
  for (auto& need : job.needs)
    if (auto it = needs.find(need); it != needs.end() && it->second.status == "skipped" && job.condition.empty())
      return {&job, false, "it needs " + need + ", which is skipped"};
  auto runs = decided(job, event, needs);
  if (!runs) return {&job, true, "if its `if` says so then: " + job.condition};
  if (!*runs) return {&job, false, "its `if` is false: " + job.condition};
  return {&job, true, job.condition.empty() ? "" : "its `if` is true: " + job.condition};
}

std::string joined(const std::vector<std::string>& words) {
  std::string out;
  for (auto& word : words) out += (out.empty() ? "" : ", ") + word;
  return out;
}

std::string count(std::size_t n, std::string_view what) { return std::to_string(n) + " " + std::string(what) + (n == 1 ? "" : "s"); }

/// Which jobs came of which one as written.
struct Families {
  std::map<std::string_view, std::string_view> base_of;
  std::map<std::string_view, std::size_t> sizes;

  explicit Families(const Plan& plan) {
    for (auto& job : plan.jobs) {
      base_of[job.name] = job.base_name;
      ++sizes[job.base_name];
    }
  }
};

/// Of a matrix that is needed as a whole, its name and how many they are.
std::string needs_of(const JobSpec& job, const Families& families) {
  std::map<std::string_view, std::size_t> needed;
  for (auto& need : job.needs)
    if (auto it = families.base_of.find(need); it != families.base_of.end()) ++needed[it->second];
  std::vector<std::string> out;
  for (auto& need : job.needs) {
    auto it = families.base_of.find(need);
    auto base = it == families.base_of.end() ? std::string_view() : it->second;
    auto size = base.empty() ? 0 : families.sizes.at(base);
    if (size < 2 || needed[base] < size) out.push_back(need);
    else if (std::exchange(needed[base], size + 1) == size) out.push_back(std::string(base) + " (all " + std::to_string(size) + ")");
  }
  return joined(out);
}

std::string services_of(const JobSpec& job) {
  std::vector<std::string> out;
  for (auto& service : job.services) out.push_back(harmless(service.name + " (" + service.image + ")"));
  return joined(out);
}

std::string about(const PlannedJob& job, const Families& families) {
  std::vector<std::string> parts;
  if (!job.spec->needs.empty()) parts.push_back("needs " + harmless(needs_of(*job.spec, families)));
  if (job.spec->image != "host") parts.push_back("image " + harmless(job.spec->image));
  if (!job.spec->services.empty()) parts.push_back("services " + services_of(*job.spec));
  if (!job.why.empty()) parts.push_back(first_line(job.why));
  return joined(parts);
}

}  // namespace

std::vector<PlannedJob> predict(const Plan& plan, const TriggerEvent& event) {
  std::vector<PlannedJob> out;
  Needs known;
  for (auto& job : plan.jobs) {
    Needs needs;
    for (auto& need : job.needs)
      if (auto it = known.find(need); it != known.end()) needs.insert(*it);
    out.push_back(predict_job(job, event, needs));
    known[job.name] = {.status = out.back().runs ? "succeeded" : "skipped", .outputs = {}};
  }
  return out;
}

std::string plan_text(const Plan& plan, const TriggerEvent& event, const Style& style) {
  auto jobs = predict(plan, event);
  auto runs = std::size_t(std::ranges::count(jobs, true, &PlannedJob::runs));
  auto out = painted(harmless(event.event) + " of " + short_ref(event.ref), Paint::bold, style) + ": " + count(runs, "job") + " would run" +
             (runs < jobs.size() ? ", " + std::to_string(jobs.size() - runs) + " skipped" : "") + "\n";
  Families families(plan);
  std::vector<std::vector<std::string>> rows;
  for (auto& job : jobs) {
    auto glyph = job.runs ? painted("●", Paint::green, style) : painted("–", Paint::dim, style);
    rows.push_back({"  " + glyph + " " + harmless(job.spec->name), count(job.spec->steps.size(), "step"), about(job, families)});
  }
  return out + table(rows);
}

std::string plan_json(const Plan& plan, const TriggerEvent& event) {
  json::array jobs;
  for (auto& job : predict(plan, event)) {
    auto spec = parse_json(job_spec_to_json(*job.spec));
    jobs.push_back(json::object{{"name", job.spec->name},
                                {"needs", json::value_from(job.spec->needs)},
                                {"runs", job.runs},
                                {"why", job.why},
                                {"spec", spec ? *spec : json::value(nullptr)}});
  }
  return json::serialize(json::object{{"name", plan.name}, {"event", event.event}, {"ref", event.ref}, {"sha", event.sha}, {"jobs", std::move(jobs)}});
}

}  // namespace mayfly::cli
