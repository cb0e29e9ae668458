#include "cli/commands/commands.h"
#include "cli/render/pool_view.h"

namespace mayfly::cli {

Task<Result<int>> execute(Session& session, PoolList) {
  CO_TRY_ASSIGN(auto page, co_await session.api.pools());
  if (session.json) {
    std::string items;
    for (auto& pool : page.items) items += (items.empty() ? "" : ",") + pool.json;
    session.line("{\"items\":[" + items + "]}");
  } else if (page.items.empty()) {
    session.line("No pool has made itself known yet: mayfly serve --roles runners, with `pools` in its configuration, keeps some");
  } else {
    session.out(pool_table(page.items, session.style()));
  }
  co_return done;
}

Task<Result<int>> execute(Session& session, PoolDrain options) {
  CO_TRY_ASSIGN(auto pool, co_await session.api.drain_pool(options.name));
  auto left = pool.running + pool.assigned;
  auto what = left == 0 ? std::string("nothing runs there any more") : std::to_string(left) + (left == 1 ? " job" : " jobs") + " may end";
  session.line(session.json ? pool.json : "Pool " + harmless(pool.name) + " starts nothing new; " + what);
  co_return done;
}

Task<Result<int>> execute(Session& session, PoolResume options) {
  CO_TRY_ASSIGN(auto pool, co_await session.api.resume_pool(options.name));
  session.line(session.json ? pool.json : "Pool " + harmless(pool.name) + " starts runners again");
  co_return done;
}

}  // namespace mayfly::cli
