#include "base/ids.h"
#include "base/json.h"
#include "cli/commands/commands.h"
#include "cli/shell_session.h"

namespace mayfly::cli {
namespace {

struct Target {
  std::string job_id = {};
  std::string build_id = {};   // empty: only the job's id is known
};

/// The one job of a build that runs; when a job is to be released, the one that is held.
Result<const Job*> only_job(const Build& build, bool held) {
  std::vector<const Job*> fits;
  std::string names;
  for (auto& job : build.jobs) {
    if (job.status != "running" || (held && !job.held_until)) continue;
    fits.push_back(&job);
    names += (names.empty() ? "" : ", ") + harmless(job.name);
  }
  if (fits.size() == 1) return fits[0];
  if (fits.empty())
    return fail(Errc::conflict, std::string("no job of the build ") + (held ? "is held" : "runs"), held ? "" : "mayfly build " + build.id + " shows how they stand");
  return fail(Errc::invalid, "several jobs of the build run: " + names, "name one: mayfly shell " + build.id + " JOB");
}

Task<Result<Target>> find_target(Session& session, std::string what, std::string job, bool held) {
  auto build = co_await find_build(session, what);
  bool is_id = JobId::parse(what).has_value();
  if (!build && build.error().code == Errc::not_found && is_id && job.empty()) co_return Target{.job_id = what};
  if (!build) co_return std::unexpected(build.error());
  CO_TRY_ASSIGN(auto* found, job.empty() ? only_job(*build, held) : find_job(*build, job));
  co_return Target{found->id, build->id};
}

/// Whether it is worth saying that the job waits on.
Task<void> remind_of_hold(Session& session, Target target) {
  if (target.build_id.empty()) co_return;
  auto build = co_await session.api.build(target.build_id);
  if (!build) co_return;
  auto job = find_job(*build, target.job_id);
  if (job && (*job)->held_until && (*job)->status == "running")
    session.world.console.err("mayfly: '" + harmless((*job)->name) + "' is " + harmless((*job)->detail) + "; let it go on: mayfly shell --release " + target.job_id + "\n");
}

}  // namespace

Task<Result<int>> execute(Session& session, Shell options) {
  CO_TRY_ASSIGN(auto target, co_await find_target(session, options.target, options.job, options.release));
  if (options.release) {
    CO_TRY(co_await session.api.release(target.job_id));
    session.line(session.json ? json::serialize(json::object{{"job", target.job_id}}) : "The job goes on.");
    co_return done;
  }
  std::optional<ShellOutcome> outcome;
  {
    auto terminal = session.world.make_terminal(session.loop);
    CO_TRY_ASSIGN(outcome, co_await open_shell(session, *terminal, {.job_id = target.job_id, .attempt = options.attempt, .command = options.command, .plain = options.plain}));
  }
  auto code = conclude(session, *outcome);
  if (session.world.console.terminal()) co_await remind_of_hold(session, target);
  co_return code;
}

}  // namespace mayfly::cli
