#include "cli/render/build_view.h"

#include <algorithm>
#include <array>
#include <map>

namespace mayfly::cli {
namespace {

constexpr std::string_view ordinary_isolation = "sandbox";   // not worth a word on every line

struct Look {
  std::string_view status;
  std::string_view glyph;
  Paint paint;
};

constexpr std::array looks{
    Look{"waiting", "○", Paint::dim},       Look{"queued", "○", Paint::yellow}, Look{"assigned", "◌", Paint::blue},
    Look{"running", "●", Paint::blue},      Look{"succeeded", "✔", Paint::green}, Look{"failed", "✘", Paint::red},
    Look{"canceled", "⊘", Paint::yellow}, Look{"skipped", "–", Paint::dim},   Look{"cached", "✔", Paint::cyan},
};

Look look_of(std::string_view status) {
  auto found = std::ranges::find(looks, status, &Look::status);
  return found == looks.end() ? Look{status, "?", Paint::none} : *found;
}

/// The same with what `allow_failure` forgives.
Look look_of(const Job& job) {
  return job.status == "failed" && job.allow_failure ? Look{"failed", "!", Paint::yellow} : look_of(job.status);
}

std::string elapsed(std::optional<Time> start, std::optional<Time> end, Time now) {
  if (!start) return {};
  return format_duration(std::max(Duration::zero(), end.value_or(now) - *start));
}

std::string joined(const std::vector<std::string>& words) {
  std::string out;
  for (auto& word : words) out += (out.empty() ? "" : ", ") + word;
  return out;
}

bool is_over(const Step& step) { return has_ended(step.status); }

std::string running_step(const Job& job) {
  auto it = std::ranges::find(job.steps, "running", &Step::status);
  if (it == job.steps.end()) return {};
  auto place = "[" + std::to_string(it - job.steps.begin() + 1) + "/" + std::to_string(job.steps.size()) + "] ";
  return place + first_line(it->name);
}

std::string test_counts(const TestCounts& tests) {
  auto out = std::to_string(tests.tests) + (tests.tests == 1 ? " test" : " tests");
  if (tests.failures > 0) out += ", " + std::to_string(tests.failures) + " failed";
  if (tests.skipped > 0) out += ", " + std::to_string(tests.skipped) + " skipped";
  return out;
}

/// What somebody who looks at this job wants to know beside its status.
std::string note(const Job& job, const std::map<std::string_view, const Job*>& by_name) {
  std::vector<std::string> parts;
  if (job.attempt > 1) parts.push_back("attempt " + std::to_string(job.attempt));
  if (job.status == "waiting") {
    std::vector<std::string> open;
    for (auto& need : job.needs)
      if (auto it = by_name.find(need); it == by_name.end() || !has_ended(it->second->status)) open.push_back(harmless(need));
    if (!open.empty()) parts.push_back("needs " + joined(open));
  } else if (job.status == "running") {
    if (auto step = running_step(job); !step.empty()) parts.push_back(std::move(step));
  } else if (!has_ended(job.status)) {
    if (!job.waiting_for.empty()) parts.push_back(first_line(job.waiting_for));
    else if (!job.detail.empty()) parts.push_back(first_line(job.detail));
  } else if (job.status == "cached") {
    parts.push_back("not run again");
  } else if (job.status != "succeeded") {
    if (auto why = job.detail.empty() ? job.reason : job.detail; !why.empty()) parts.push_back(first_line(why));
    if (job.status == "failed" && job.allow_failure) parts.push_back("allowed to fail");
  }
  if (!job.isolation.empty() && job.isolation != ordinary_isolation) parts.push_back("under " + harmless(job.isolation));
  if (job.tests && has_ended(job.status)) parts.push_back(test_counts(*job.tests));
  return joined(parts);
}

/// Where each job hangs: under the deepest of the jobs it needs, of equally deep ones the last.
class Forest final {
 public:
  explicit Forest(const std::vector<Job>& jobs) : jobs_(jobs), depth_(jobs.size(), 0), children_(jobs.size()) {
    std::map<std::string_view, std::size_t> index;
    for (std::size_t i = 0; i < jobs.size(); ++i) {
      std::optional<std::size_t> parent;
      for (auto& need : jobs[i].needs)
        if (auto it = index.find(need); it != index.end() && (!parent || depth_[it->second] >= depth_[*parent])) parent = it->second;
      if (parent) depth_[i] = depth_[*parent] + 1;
      (parent ? children_[*parent] : roots_).push_back(i);
      index.emplace(jobs[i].name, i);
    }
  }

  /// Calls `visit(job, guide)`, parents first; the guide draws the branch it hangs on.
  template <class F>
  void walk(F visit) const {
    for (auto root : roots_) {
      visit(jobs_[root], std::string());
      walk_children(root, "", visit);
    }
  }

 private:
  template <class F>
  void walk_children(std::size_t parent, const std::string& indent, F& visit) const {
    auto& kids = children_[parent];
    for (std::size_t i = 0; i < kids.size(); ++i) {
      bool last = i + 1 == kids.size();
      visit(jobs_[kids[i]], indent + (last ? "└─" : "├─"));
      walk_children(kids[i], indent + (last ? "  " : "│ "), visit);
    }
  }

  const std::vector<Job>& jobs_;
  std::vector<std::size_t> depth_;
  std::vector<std::vector<std::size_t>> children_;
  std::vector<std::size_t> roots_;
};

struct Row {
  const Job* job;
  std::string guide;
};

/// Which rows go when there is room for `room` of them: what ended well first, then what has not begun.
std::vector<Row> fitting(std::vector<Row> rows, std::size_t room) {
  auto drop = [&](auto boring) {
    for (auto it = rows.begin(); it != rows.end() && rows.size() > room;) it = boring(*it->job) ? rows.erase(it) : it + 1;
  };
  drop([](const Job& j) { return has_ended(j.status) && j.status != "failed"; });
  drop([](const Job& j) { return j.status == "waiting"; });
  drop([](const Job& j) { return j.status == "queued"; });
  drop([](const Job&) { return true; });
  return rows;
}

std::string hidden_line(const std::vector<Job>& jobs, const std::vector<Row>& shown, const Style& style) {
  std::map<std::string, std::int64_t> counts;
  for (auto& job : jobs) ++counts[job.status];
  for (auto& row : shown) --counts[row.job->status];
  std::vector<std::string> parts;
  for (auto& [status, n] : counts)
    if (n > 0) parts.push_back(std::to_string(n) + " " + status);
  return painted("  … and " + joined(parts), Paint::dim, style);
}

std::string name_of(const BuildScene& scene) {
  return harmless(scene.project) + "#" + std::to_string(scene.build.number);
}

std::string change_line(const Job& job, const std::map<std::string_view, const Job*>& by_name, Time now) {
  auto out = harmless(job.name) + ": " + job.status;
  if (has_ended(job.status))
    if (auto time = elapsed(job.start_time, job.end_time, now); !time.empty()) out += " in " + time;
  auto why = note(job, by_name);
  return why.empty() ? out : out + " (" + why + ")";
}

std::map<std::string_view, const Job*> by_name(const Build& build) {
  std::map<std::string_view, const Job*> out;
  for (auto& job : build.jobs) out.emplace(job.name, &job);
  return out;
}

/// Is `now` worth a line to somebody who was told of `before`? A step that ended is not: the next one is.
bool is_news(const Job& before, const Job& now) {
  if (before.status != now.status || before.attempt != now.attempt) return true;
  auto step = running_step(now);
  return !step.empty() && step != running_step(before);
}

}  // namespace

std::string glyph(std::string_view status, const Style& style) {
  auto look = look_of(status);
  return painted(look.glyph, look.paint, style);
}

std::string short_ref(std::string_view ref) {
  for (std::string_view prefix : {"refs/heads/", "refs/tags/"})
    if (ref.starts_with(prefix)) return harmless(ref.substr(prefix.size()));
  if (constexpr std::string_view pull = "refs/pull/"; ref.starts_with(pull)) {
    ref.remove_prefix(pull.size());
    return "#" + harmless(ref.substr(0, ref.find('/')));
  }
  return harmless(ref);
}

std::string headline(const BuildScene& scene, const Style& style) {
  auto& build = scene.build;
  auto look = look_of(build.status);
  auto out = painted(look.glyph, look.paint, style) + " " + painted(name_of(scene), Paint::bold, style) + "  " +
             painted(build.status, look.paint, style) + "  " + short_ref(build.ref) + " " +
             painted(harmless(std::string_view(build.commit_sha).substr(0, 7)), Paint::dim, style);
  if (auto message = first_line(build.message); !message.empty()) out += "  " + cut(message, 60);
  if (auto time = elapsed(build.start_time, build.end_time, scene.now); !time.empty()) out += "  " + painted(time, Paint::dim, style);
  return out;
}

std::vector<std::string> build_tree(const BuildScene& scene, const Style& style, std::size_t max_lines) {
  auto& build = scene.build;
  std::vector<std::string> lines{headline(scene, style)};
  for (auto& error : build.errors) lines.push_back("  " + painted("✘ ", Paint::red, style) + harmless(error));

  std::vector<Row> rows;
  Forest(build.jobs).walk([&](const Job& job, std::string guide) { rows.push_back({&job, std::move(guide)}); });
  auto names = by_name(build);
  auto shown = rows;
  if (max_lines != std::string::npos && lines.size() + rows.size() > max_lines)
    shown = fitting(rows, max_lines > lines.size() + 1 ? max_lines - lines.size() - 1 : 0);

  std::size_t name_width = 0;
  for (auto& row : shown) name_width = std::max(name_width, columns(row.guide) + columns(harmless(row.job->name)));
  name_width = std::min(name_width, std::size_t(style.width) / 2);
  for (auto& row : shown) {
    auto look = look_of(*row.job);
    auto name = painted(row.guide, Paint::dim, style) + painted(look.glyph, look.paint, style) + " " + harmless(row.job->name);
    auto time = elapsed(row.job->start_time, row.job->end_time, scene.now);
    auto why = note(*row.job, names);
    auto line = "  " + padded(cut(name, name_width + 2), name_width + 2) + "  " + padded(painted(time, Paint::dim, style), 8) + why;
    while (line.ends_with(' ')) line.pop_back();
    lines.push_back(std::move(line));
  }
  if (shown.size() < rows.size()) lines.push_back(hidden_line(build.jobs, shown, style));
  for (auto& line : lines) line = cut(line, std::size_t(style.width));
  return lines;
}

std::vector<std::string> changes(const Build* before, const BuildScene& scene) {
  std::vector<std::string> lines;
  auto& build = scene.build;
  if (!before) {
    lines.push_back(headline(scene, {}));
    for (auto& error : build.errors) lines.push_back(harmless(error));
  }
  auto names = by_name(build);
  auto old_names = before ? by_name(*before) : std::map<std::string_view, const Job*>{};
  for (auto& job : build.jobs) {
    auto old = old_names.find(job.name);
    bool silent = old == old_names.end() ? job.status == "waiting" : !is_news(*old->second, job);
    if (!silent) lines.push_back(change_line(job, names, scene.now));
  }
  return lines;
}

std::string verdict(const BuildScene& scene, const Style& style) {
  auto& build = scene.build;
  auto look = look_of(build.status);
  auto out = painted(look.glyph, look.paint, style) + " " + name_of(scene) + " " + painted(build.status, look.paint, style);
  if (auto time = elapsed(build.start_time, build.end_time, scene.now); !time.empty()) out += " in " + time;
  std::vector<std::string> parts;
  for (auto& known : looks)
    if (auto n = std::ranges::count(build.jobs, known.status, &Job::status)) parts.push_back(std::to_string(n) + " " + std::string(known.status));
  if (!build.errors.empty()) parts.push_back("the pipeline has " + std::to_string(build.errors.size()) + (build.errors.size() == 1 ? " error" : " errors"));
  return parts.empty() ? out : out + ": " + joined(parts);
}

std::vector<const Job*> culprits(const Build& build) {
  std::vector<const Job*> out;
  for (auto& job : build.jobs)
    if (job.status == "failed" && !job.allow_failure) out.push_back(&job);
  return out;
}

const Step* failed_step(const Job& job) {
  auto it = std::ranges::find_if(job.steps, [](const Step& s) { return s.status == "failed" || (s.status == "canceled" && is_over(s)); });
  return it == job.steps.end() ? nullptr : &*it;
}

}  // namespace mayfly::cli
