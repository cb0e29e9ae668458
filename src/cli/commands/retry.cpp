#include "base/json.h"
#include "cli/commands/commands.h"
#include "cli/watch.h"

namespace mayfly::cli {

Task<Result<int>> execute(Session& session, Retry options) {
  CO_TRY_ASSIGN(auto build, co_await find_build(session, options.build));
  CO_TRY_ASSIGN(auto id, co_await session.api.retry(build.id, options.jobs, options.hold));
  if (options.follow) {
    CO_TRY_ASSIGN(auto ended, co_await watch_build(session, id));
    co_return exit_code_of(ended);
  }
  session.line(session.json ? json::serialize(json::object{{"build", id}, {"retry_of", build.id}})
                            : "New build " + id + "\n  Watch it: mayfly build " + id + " --watch");
  co_return done;
}

}  // namespace mayfly::cli
