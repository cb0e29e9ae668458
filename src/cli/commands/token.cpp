#include "cli/commands/commands.h"

namespace mayfly::cli {

Task<Result<int>> execute(Session& session, TokenCreate options) {
  CO_TRY_ASSIGN(auto answer, co_await session.api.create_token({.name = options.name, .role = options.role, .lifetime = options.lifetime}));
  CO_TRY_ASSIGN(auto token, string_field(answer, "token"));
  // The token alone on standard output, so that it can be kept: mayfly token create x > file.
  if (!session.json) session.world.console.err("The token is shown this once; the server keeps only its hash.\n");
  session.line(session.json ? answer : token);
  co_return done;
}

}  // namespace mayfly::cli
