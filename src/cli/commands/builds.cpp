#include <algorithm>
#include <map>

#include "cli/commands/commands.h"
#include "cli/render/build_view.h"

namespace mayfly::cli {
namespace {

constexpr int max_page = 200;

Task<Result<std::vector<Build>>> collect(Session& session, BuildFilter filter, int limit) {
  std::vector<Build> builds;
  std::optional<std::string> cursor;
  do {
    auto room = limit - int(builds.size());
    CO_TRY_ASSIGN(auto page, co_await session.api.builds(filter, std::min(room, max_page), cursor));
    for (auto& build : page.items) builds.push_back(std::move(build));
    cursor = page.next;
  } while (cursor && int(builds.size()) < limit);
  co_return builds;
}

std::vector<std::string> row(const Build& build, const std::string& project, Time now, const Style& style) {
  auto begun = build.created_at ? format_duration(std::max(Duration::zero(), now - *build.created_at)) + " ago" : "";
  auto took = build.start_time ? format_duration(std::max(Duration::zero(), build.end_time.value_or(now) - *build.start_time)) : "";
  return {glyph(build.status, style) + " " + harmless(project) + "#" + std::to_string(build.number),
          build.status,
          short_ref(build.ref) + " " + harmless(std::string_view(build.commit_sha).substr(0, 7)),
          build.trigger_type,
          took,
          begun,
          cut(first_line(build.message), 50)};
}

}  // namespace

Task<Result<int>> execute(Session& session, Builds options) {
  CO_TRY_ASSIGN(auto builds,
                co_await collect(session, {.project = options.project, .status = options.status, .ref = options.ref}, options.limit));
  if (session.json) {
    std::string items;
    for (auto& build : builds) items += (items.empty() ? "" : ",") + build.json;
    session.line("{\"items\":[" + items + "]}");
    co_return done;
  }
  std::map<std::string, std::string> names;
  std::vector<std::vector<std::string>> rows{{"BUILD", "STATUS", "REF", "TRIGGER", "TOOK", "CREATED", "MESSAGE"}};
  for (auto& build : builds) {
    if (!names.contains(build.project_id)) names[build.project_id] = co_await project_name(session, build.project_id);
    rows.push_back(row(build, names[build.project_id], session.clock.now(), session.style()));
  }
  if (builds.empty()) session.line("No builds.");
  else session.out(table(rows));
  co_return done;
}

}  // namespace mayfly::cli
