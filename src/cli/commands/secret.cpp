#include <algorithm>

#include "base/json.h"
#include "cli/commands/commands.h"

namespace mayfly::cli {
namespace {

constexpr std::size_t max_secret_bytes = 64 * 1024;

}  // namespace

Task<Result<int>> execute(Session& session, SecretSet options) {
  CO_TRY_ASSIGN(auto value, session.world.read_input("Value of " + options.name + ": ", max_secret_bytes));
  if (value.ends_with('\n')) value.pop_back();  // the one that `echo` and editors add
  if (value.empty()) co_return fail(Errc::invalid, "the value is empty", "give it on standard input: mayfly secret set " + options.project + " " + options.name + " < FILE");
  CO_TRY(co_await session.api.set_secret(options.project, options.name, std::move(value)));
  session.line(session.json ? json::serialize(json::object{{"name", options.name}})
                            : "Stored secret " + options.name + ". A job gets it by naming it: secrets: [" + options.name + "]");
  co_return done;
}

Task<Result<int>> execute(Session& session, SecretList options) {
  std::vector<std::string> names;
  std::optional<std::string> cursor;
  do {
    CO_TRY_ASSIGN(auto page, co_await session.api.secrets(options.project, cursor));
    names.insert(names.end(), page.items.begin(), page.items.end());
    cursor = page.next;
  } while (cursor);
  if (session.json) {
    json::array items;
    for (auto& name : names) items.push_back(json::object{{"name", name}});
    session.line(json::serialize(json::object{{"items", std::move(items)}}));
  } else {
    for (auto& name : names) session.line(harmless(name));
  }
  co_return done;
}

Task<Result<int>> execute(Session& session, SecretRemove options) {
  CO_TRY(co_await session.api.remove_secret(options.project, options.name));
  session.line(session.json ? "{}" : "Removed secret " + options.name);
  co_return done;
}

}  // namespace mayfly::cli
