#include "cli/commands/commands.h"

#include "cli/download.h"

namespace mayfly::cli {
namespace {

Task<Result<std::vector<Artifact>>> all_artifacts(Session& session, std::string build_id) {
  std::vector<Artifact> artifacts;
  std::optional<std::string> cursor;
  do {
    CO_TRY_ASSIGN(auto page, co_await session.api.artifacts(build_id, cursor));
    for (auto& artifact : page.items) artifacts.push_back(std::move(artifact));
    cursor = page.next;
  } while (cursor);
  co_return artifacts;
}

std::string expiry(const Artifact& artifact) { return artifact.expires_at ? to_rfc3339(*artifact.expires_at).substr(0, 10) : "never"; }

/// By path, or JOB:PATH where several jobs made the same.
Result<Artifact> choose(const std::vector<Artifact>& artifacts, const std::string& wanted) {
  std::vector<const Artifact*> found;
  for (auto& artifact : artifacts)
    if (artifact.path == wanted || artifact.job + ":" + artifact.path == wanted) found.push_back(&artifact);
  if (found.size() == 1) return *found.front();
  std::string names;
  for (auto* artifact : found) names += (names.empty() ? "" : ", ") + harmless(artifact->job + ":" + artifact->path);
  if (!found.empty()) return fail(Errc::invalid, "several jobs made " + wanted, "say which: " + names);
  return fail(Errc::not_found, "the build has no artifact '" + wanted + "'", "mayfly artifacts BUILD lists them");
}

std::string default_output(const std::string& path) { return path.substr(path.rfind('/') + 1); }

}  // namespace

Task<Result<int>> execute(Session& session, ListArtifacts options) {
  CO_TRY_ASSIGN(auto build, co_await find_build(session, options.build));
  CO_TRY_ASSIGN(auto artifacts, co_await all_artifacts(session, build.id));
  if (session.json) {
    std::string items;
    for (auto& artifact : artifacts) items += (items.empty() ? "" : ",") + artifact.json;
    session.line("{\"items\":[" + items + "]}");
  } else if (artifacts.empty()) {
    session.line("The build has no artifacts.");
  } else {
    std::vector<std::vector<std::string>> rows{{"PATH", "JOB", "SIZE", "EXPIRES", "SHA-256"}};
    for (auto& a : artifacts) rows.push_back({harmless(a.path), harmless(a.job), format_bytes(a.size), expiry(a), harmless(a.sha256)});
    session.out(table(rows));
  }
  co_return done;
}

Task<Result<int>> execute(Session& session, GetArtifact options) {
  CO_TRY_ASSIGN(auto build, co_await find_build(session, options.build));
  CO_TRY_ASSIGN(auto artifacts, co_await all_artifacts(session, build.id));
  CO_TRY_ASSIGN(auto artifact, choose(artifacts, options.path));
  auto output = options.output.empty() ? default_output(artifact.path) : options.output;
  if (output == "-") {
    CO_TRY(co_await print_artifact(session, artifact));
    co_return done;
  }
  CO_TRY(co_await download(session, artifact, output));
  session.line(session.json ? artifact.json : "Wrote " + harmless(output) + " (" + format_bytes(artifact.size) + ", sha256 " + harmless(artifact.sha256) + ")");
  co_return done;
}

}  // namespace mayfly::cli
