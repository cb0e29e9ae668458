#include "base/json.h"
#include "cli/commands/commands.h"

namespace mayfly::cli {

Task<Result<int>> execute(Session& session, Cancel options) {
  CO_TRY_ASSIGN(auto build, co_await find_build(session, options.build));
  if (has_ended(build.status)) {
    session.line(session.json ? json::serialize(json::object{{"build", build.id}, {"status", build.status}}) : "It has ended already: " + build.status);
    co_return done;
  }
  CO_TRY(co_await session.api.cancel(build.id));
  session.line(session.json ? json::serialize(json::object{{"build", build.id}, {"status", "canceled"}}) : "Canceled build " + build.id);
  co_return done;
}

}  // namespace mayfly::cli
