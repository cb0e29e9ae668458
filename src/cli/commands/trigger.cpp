#include "cli/commands/commands.h"
#include "cli/render/build_view.h"
#include "cli/watch.h"

namespace mayfly::cli {

Task<Result<int>> execute(Session& session, Trigger options) {
  CO_TRY_ASSIGN(auto build, co_await session.api.trigger(options.project, {.ref = options.ref, .sha = options.sha, .inputs = options.inputs, .hold = options.hold}));
  if (options.follow) {
    CO_TRY_ASSIGN(auto ended, co_await watch_build(session, build.id));
    co_return exit_code_of(ended);
  }
  if (session.json) {
    session.line(build.json);
  } else {
    auto project = co_await project_name(session, build.project_id);
    session.line(headline({build, project, session.clock.now()}, session.style()));
    session.line("  " + harmless(build.url));
    session.line("  Watch it: mayfly build " + build.id + " --watch");
  }
  co_return done;
}

}  // namespace mayfly::cli
