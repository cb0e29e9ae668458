#include <filesystem>

#include "adapters/system/system_clock.h"
#include "async/scope.h"
#include "cli/checkout.h"
#include "cli/commands/commands.h"
#include "cli/download.h"
#include "cli/log_follower.h"
#include "cli/offline.h"
#include "cli/render/build_view.h"
#include "cli/scratch.h"
#include "cli/shell_session.h"
#include "cli/watch.h"

namespace mayfly::cli {
namespace {

constexpr std::size_t max_gathered_bytes = 16 << 20;

/// Keeps what is said while the terminal is somebody else's.
class PatientConsole final : public Console {
 public:
  explicit PatientConsole(Console& console) : console_(console) {}
  void hold(bool held) {
    held_ = held;
    if (!held_) console_.out(std::exchange(gathered_, {}));
  }
  void out(std::string_view text) override {
    if (!held_) return console_.out(text);
    if (gathered_.size() + text.size() > max_gathered_bytes) gathered_.clear();
    gathered_ += text;
  }
  void err(std::string_view text) override { console_.err(text); }
  bool colour() const override { return console_.colour(); }
  bool terminal() const override { return console_.terminal(); }
  int width() const override { return console_.width(); }
  int height() const override { return console_.height(); }

 private:
  Console& console_;
  bool held_ = false;
  std::string gathered_;
};

/// One run: what was asked for, beside a server that lives as long as it.
class LocalRun final {
 public:
  LocalRun(Session& session, PatientConsole& console, LocalServer& server, const RunHere& options)
      : session_(session), console_(console), server_(server), options_(options), scope_(session.loop) {}

  Task<Result<int>> run(LocalBuild wanted) {
    CO_TRY_ASSIGN(build_id_, co_await server_.build(std::move(wanted)));
    scope_.spawn(follow());
    scope_.spawn(cancel_when_interrupted());
    if (options_.shell_on_failure) scope_.spawn(look_into_what_fails());
    co_await scope_.join();
    co_return *std::move(result_);
  }

 private:
  Task<void> follow() {
    result_ = co_await follow_to_the_end();
    scope_.cancel();
  }

  Task<Result<int>> follow_to_the_end() {
    if (session_.json) {
      CO_TRY_ASSIGN(auto build, co_await follow_build(session_, build_id_, [](const Build&) { return true; }));
      CO_TRY(co_await keep_artifacts());
      session_.line(build.json);
      co_return exit_code_of(build);
    }
    LogFollower follower(session_, build_id_, "");
    CO_TRY_ASSIGN(auto build, co_await follower.run());
    CO_TRY(co_await keep_artifacts());
    auto lines = build_tree({build, "local", session_.clock.now()}, session_.style());
    for (std::size_t i = 1; i < lines.size(); ++i) session_.line(lines[i]);
    for (auto* job : culprits(build))
      session_.line(painted("── " + harmless(job->name), Paint::bold, session_.style()) + "  " + first_line(job->detail.empty() ? job->reason : job->detail));
    session_.line(verdict({build, "local", session_.clock.now()}, session_.style()));
    co_return exit_code_of(build);
  }

  Task<Result<void>> keep_artifacts() {
    if (options_.artifacts.empty()) co_return Result<void>();
    std::optional<std::string> cursor;
    do {
      CO_TRY_ASSIGN(auto page, co_await session_.api.artifacts(build_id_, cursor));
      for (auto& artifact : page.items) {
        auto to = std::filesystem::path(options_.artifacts) / artifact.path;
        std::error_code ec;
        std::filesystem::create_directories(to.parent_path(), ec);
        CO_TRY(co_await download(session_, artifact, to.string()));
      }
      cursor = page.next;
    } while (cursor);
    co_return Result<void>();
  }

  /// One shell after the other; each job goes on when its own was left.
  Task<void> look_into_what_fails() {
    std::string seen;
    for (;;) {
      Job held;
      auto looked = co_await follow_build(session_, build_id_, [&](const Build& build) {
        for (auto& job : build.jobs)
          if (job.held_until && job.status == "running" && !seen.contains(job.id)) held = job;
        return held.id.empty();
      });
      if (!looked || held.id.empty()) co_return;
      seen += held.id + " ";
      co_await open_shell_in(held);
      auto released = co_await session_.api.release(held.id);
      if (!released) session_.world.console.err(error_text(released.error()));
    }
  }

  Task<void> open_shell_in(Job job) {
    session_.world.console.err("mayfly: a step of '" + harmless(job.name) + "' failed. This is its sandbox; leave it with exit.\n");
    console_.hold(true);
    auto outcome = co_await shell_in(job.id);
    console_.hold(false);
    if (!outcome) session_.world.console.err(error_text(outcome.error()));
  }

  Task<Result<ShellOutcome>> shell_in(std::string job_id) {
    auto terminal = session_.world.make_terminal(session_.loop);
    co_return co_await open_shell(session_, *terminal, {.job_id = std::move(job_id)});
  }

  Task<void> cancel_when_interrupted() {
    if (!co_await server_.interrupted().wait(session_.clock)) co_return;
    session_.world.console.err("Canceling; once more ends at once.\n");
    auto canceled = co_await session_.api.cancel(build_id_);
    if (!canceled) session_.world.console.err(error_text(canceled.error()));
  }

  Session& session_;
  PatientConsole& console_;
  LocalServer& server_;
  const RunHere& options_;
  std::string build_id_;
  std::optional<Result<int>> result_;
  Scope scope_;
};

Result<std::map<std::string, std::string>> secrets_of(const World& world, const std::vector<std::string>& names) {
  std::map<std::string, std::string> out;
  for (auto& name : names) {
    auto value = world.environment(name);
    if (!value) return fail(Errc::invalid, "the environment has no variable " + name, "set it, or leave out --secret " + name);
    out[name] = std::move(*value);
  }
  return out;
}

Task<int> beside(World& outer, bool json, const RunHere& options, LocalBuild wanted, Loop loop, LocalServer& server) {
  PatientConsole console(outer.console);
  World world{console, outer.environment, outer.directory, outer.read_input, outer.make_terminal};
  SystemClock clock(loop);
  http::Client client(loop);
  Api api(client, clock, {.url = server.url(), .token = server.token()});
  Session session{world, api, clock, loop, json};
  LocalRun run(session, console, server, options);
  auto result = co_await run.run(std::move(wanted));
  if (result) co_return *result;
  world.console.err(error_text(result.error()));
  co_return exit_code_of(result.error());
}

}  // namespace

Result<int> execute(World& world, bool json, const Programs& programs, const RunHere& options) {
  if (options.shell_on_failure && !world.console.terminal())
    return fail(Errc::invalid, "--shell-on-failure needs a terminal", "leave it out where nobody is there to look");
  TRY_ASSIGN(auto checkout, Checkout::open(world.directory));
  TRY_ASSIGN(auto files, checkout.pipeline_files());
  TRY_ASSIGN(auto event, event_of(options.event, checkout));
  TRY_ASSIGN(auto secrets, secrets_of(world, options.secrets));
  auto problems = lint(files, plan_options());
  if (!problems.empty()) {
    for (auto& problem : problems) world.console.err(harmless(to_string(problem)) + "\n");
    return said_no;
  }
  Scratch scratch;
  auto bare = scratch.path() + "/source.git";
  TRY_ASSIGN(event.sha, checkout.snapshot(bare, event.ref));
  LocalBuild wanted{.repository = bare, .event = std::move(event), .jobs = options.jobs, .secrets = std::move(secrets),
                    .hold = options.shell_on_failure ? max_hold : Duration::zero()};
  return programs.with_server({.data_dir = scratch.path() + "/data", .slots = options.slots}, [&](Loop loop, LocalServer& server) {
    return beside(world, json, options, wanted, loop, server);
  });
}

}  // namespace mayfly::cli
