#include <algorithm>

#include "cli/commands/commands.h"
#include "cli/log_follower.h"

namespace mayfly::cli {
namespace {

Task<Result<void>> print_stored(Session& session, const Job& job, Sink sink) {
  LogPosition position{.job_id = job.id};
  auto read = co_await session.api.stored_log(position, std::move(sink));
  if (!read && read.error().code == Errc::not_found) co_return Result<void>();  // it has not begun
  co_return read;
}

Task<Result<void>> print_all(Session& session, const Build& build) {
  std::size_t width = 0;
  for (auto& job : build.jobs) width = std::max(width, columns(harmless(job.name)));
  for (auto& job : build.jobs) {
    LinePrefixer prefixer(log_prefix(job.name, width, session.style()), [&](std::string_view line) { session.out(line); });
    CO_TRY(co_await print_stored(session, job, [&](std::string_view bytes) { prefixer.feed(bytes); }));
    prefixer.end();
  }
  co_return Result<void>();
}

}  // namespace

Task<Result<int>> execute(Session& session, Logs options) {
  CO_TRY_ASSIGN(auto build, co_await find_build(session, options.build));
  const Job* job = nullptr;
  if (!options.job.empty()) {
    CO_TRY_ASSIGN(job, find_job(build, options.job));
  }
  if (options.follow) {
    LogFollower follower(session, build.id, job ? job->name : "");
    CO_TRY(co_await follower.run());
  } else if (job) {
    CO_TRY(co_await print_stored(session, *job, [&](std::string_view bytes) { session.out(bytes); }));
  } else {
    CO_TRY(co_await print_all(session, build));
  }
  co_return done;
}

}  // namespace mayfly::cli
