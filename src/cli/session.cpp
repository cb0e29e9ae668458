#include "cli/session.h"

#include <charconv>

#include "base/ids.h"

namespace mayfly::cli {
namespace {

constexpr int search_page = 200;

struct BuildName {
  std::string project;
  std::int64_t number = 0;  // 0: the latest
};

Result<BuildName> parse_build_name(const std::string& text) {
  auto hash = text.rfind('#');
  if (hash == std::string::npos) return BuildName{text};
  std::int64_t number = 0;
  auto [end, ec] = std::from_chars(text.data() + hash + 1, text.data() + text.size(), number);
  if (ec != std::errc{} || end != text.data() + text.size() || number < 1 || hash == 0)
    return fail(Errc::invalid, "'" + text + "' is not a build", "write an id, PROJECT#NUMBER, or PROJECT for its latest build");
  return BuildName{text.substr(0, hash), number};
}

/// Numbers only grow, so the pages are read no further than past the one wanted.
Task<Result<std::string>> find_id(Session& session, BuildName name) {
  std::optional<std::string> cursor;
  do {
    auto limit = name.number == 0 ? 1 : search_page;
    CO_TRY_ASSIGN(auto page, co_await session.api.builds({.project = name.project}, limit, cursor));
    for (auto& build : page.items) {
      if (name.number == 0 || build.number == name.number) co_return build.id;
      if (build.number < name.number) break;
    }
    cursor = page.items.empty() || page.items.back().number < name.number ? std::nullopt : page.next;
  } while (cursor);
  if (name.number == 0)
    co_return fail(Errc::not_found, "project '" + name.project + "' has no builds yet", "push to it, or run: mayfly trigger " + name.project);
  co_return fail(Errc::not_found, "project '" + name.project + "' has no build #" + std::to_string(name.number),
                 "mayfly builds " + name.project + " shows those there are");
}

}  // namespace

std::string error_text(const Error& error) {
  auto text = "mayfly: " + harmless(error.message) + "\n";
  if (!error.hint.empty()) text += "  " + harmless(error.hint) + "\n";
  return text;
}

int exit_code_of(const Error& error) {
  switch (error.code) {
    case Errc::unavailable:
    case Errc::timeout:
    case Errc::rate_limited:
      return unreachable;
    case Errc::invalid:
    case Errc::not_found:
    case Errc::conflict:
    case Errc::unauthenticated:
    case Errc::forbidden:
    case Errc::too_large:
    case Errc::unsupported:
      return used_wrongly;
    default:
      return said_no;
  }
}

Task<Result<Build>> find_build(Session& session, std::string text) {
  if (parse_uuid(text)) co_return co_await session.api.build(text);
  CO_TRY_ASSIGN(auto name, parse_build_name(text));
  CO_TRY_ASSIGN(auto id, co_await find_id(session, std::move(name)));
  co_return co_await session.api.build(std::move(id));
}

Result<const Job*> find_job(const Build& build, const std::string& name_or_id) {
  std::string names;
  for (auto& job : build.jobs) {
    if (job.name == name_or_id || job.id == name_or_id) return &job;
    names += (names.empty() ? "" : ", ") + harmless(job.name);
  }
  return fail(Errc::not_found, "the build has no job '" + name_or_id + "'", "its jobs: " + names);
}

Task<std::string> project_name(Session& session, std::string project_id) {
  auto project = co_await session.api.project(project_id);
  co_return project ? project->name : project_id;
}

}  // namespace mayfly::cli
