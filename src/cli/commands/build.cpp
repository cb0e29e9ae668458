#include "cli/commands/commands.h"
#include "cli/render/build_view.h"
#include "cli/watch.h"

namespace mayfly::cli {

Task<Result<int>> execute(Session& session, ShowBuild options) {
  CO_TRY_ASSIGN(auto build, co_await find_build(session, options.build));
  if (options.watch) {
    CO_TRY_ASSIGN(auto ended, co_await watch_build(session, build.id));
    co_return exit_code_of(ended);
  }
  if (session.json) {
    session.line(build.json);
    co_return done;
  }
  auto project = co_await project_name(session, build.project_id);
  for (auto& line : build_tree({build, project, session.clock.now()}, session.style())) session.line(line);
  if (!build.url.empty()) session.line("  " + harmless(build.url));
  co_return done;
}

}  // namespace mayfly::cli
