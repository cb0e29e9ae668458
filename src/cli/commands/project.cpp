#include <filesystem>
#include <fstream>
#include <iterator>

#include "cli/commands/commands.h"

namespace mayfly::cli {
namespace {

constexpr std::size_t max_secret_bytes = 4096;

Result<std::string> read_secret_file(World& world, const std::string& path) {
  std::string text;
  if (path == "-") {
    TRY_ASSIGN(text, world.read_input("Webhook secret: ", max_secret_bytes));
  } else {
    std::ifstream file(path, std::ios::binary);
    if (!file) return fail(Errc::invalid, "the file " + path + " cannot be read", "check --webhook-secret-file");
    text.assign(std::istreambuf_iterator<char>(file), {});
  }
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
  if (text.empty()) return fail(Errc::invalid, "the webhook secret is empty", "make one with: openssl rand -hex 32");
  return text;
}

/// A directory is named as the server will find it.
std::string repository(const World& world, const std::string& url) {
  std::error_code ec;
  auto path = std::filesystem::path(world.directory) / url;
  return std::filesystem::is_directory(path, ec) ? std::filesystem::canonical(path, ec).string() : url;
}

}  // namespace

Task<Result<int>> execute(Session& session, ProjectAdd options) {
  if (!options.webhook_secret_file.empty()) {
    CO_TRY_ASSIGN(options.webhook_secret, read_secret_file(session.world, options.webhook_secret_file));
  }
  bool signed_webhooks = !options.webhook_secret.empty();
  CO_TRY_ASSIGN(auto project, co_await session.api.add_project({.name = options.name,
                                                                .repo_url = repository(session.world, options.repo_url),
                                                                .organization = options.organization,
                                                                .webhook_secret = std::move(options.webhook_secret),
                                                                .weight = options.weight}));
  if (session.json) {
    session.line(project.json);
    co_return done;
  }
  session.line("Added project " + harmless(project.name) + " (" + project.id + ")");
  if (signed_webhooks)
    session.line("Webhook of the forge: " + session.api.endpoint().url + "/webhooks/github, content type application/json, with the same secret");
  session.line("Build it now:         mayfly trigger " + harmless(project.name) + " --follow");
  co_return done;
}

Task<Result<int>> execute(Session& session, ProjectList) {
  std::vector<std::vector<std::string>> rows;
  std::string items;
  std::optional<std::string> cursor;
  do {
    CO_TRY_ASSIGN(auto page, co_await session.api.projects(cursor));
    for (auto& project : page.items) {
      rows.push_back({harmless(project.name), harmless(project.organization), harmless(project.repo_url)});
      items += (items.empty() ? "" : ",") + project.json;
    }
    cursor = page.next;
  } while (cursor);
  if (session.json) session.line("{\"items\":[" + items + "]}");
  else if (rows.empty()) session.line("No projects yet. Add one: mayfly project add NAME --repo URL");
  else {
    rows.insert(rows.begin(), {"NAME", "ORGANIZATION", "REPOSITORY"});
    session.out(table(rows));
  }
  co_return done;
}

}  // namespace mayfly::cli
