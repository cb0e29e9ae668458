#include "simulation/runners.h"

#include <algorithm>

#include "base/digest.h"
#include "domain/logs/frame.h"

namespace mayfly::simulation {

using namespace std::chrono_literals;

namespace {

constexpr std::size_t line_bytes = 40;

RunnerCredentials credentials(const StartAnswer& answer) { return {answer.attempt_token, answer.fence}; }

}  // namespace

template <class T>
Task<Result<T>> SimulatedExecutor::ask(std::shared_ptr<Runner> runner, std::function<Task<Result<T>>(Attempts&)> question) {
  for (;;) {
    if (runner->killed) co_return fail(Errc::canceled, "killed");
    co_await sleep_for(clock_, chance_.up_to(5ms));
    auto* server = chance_.happens(chance_.faults().call_lost) ? nullptr : server_();
    if (server) {
      auto answer = co_await question(*server);
      bool same = server_() == server;   // an answer of a server that died meanwhile never arrives
      bool lost = !same || chance_.happens(chance_.faults().answer_lost);
      bool again = !answer && (answer.error().code == Errc::unavailable || answer.error().code == Errc::timeout);
      if (!lost && !again) co_return answer;
    }
    co_await sleep_for(clock_, 50ms + chance_.up_to(500ms));
  }
}

Task<Result<void>> SimulatedExecutor::start(RunnerSpec spec) {
  if (known_.contains(spec.attempt)) co_return fail(Errc::conflict, "started before");
  if (chance_.happens(chance_.faults().executor_fails)) co_return fail(Errc::unavailable, "no room");
  auto runner = std::make_shared<Runner>(Runner{.spec = spec, .name = "r-" + std::to_string(chance_.below(1u << 30))});
  known_[spec.attempt] = runner;
  runners_.spawn(live(runner));
  co_return Result<void>{};
}

Task<Result<void>> SimulatedExecutor::stop(AttemptId attempt, Duration grace) {
  auto at = known_.find(attempt);
  if (at == known_.end()) co_return Result<void>{};
  auto runner = at->second;
  co_await sleep_for(clock_, grace);
  runner->killed = true;
  co_return Result<void>{};
}

Task<Result<std::vector<RunnerStatus>>> SimulatedExecutor::list() {
  std::vector<RunnerStatus> out;
  for (auto& [attempt, runner] : known_) out.push_back({attempt, runner->running, runner->killed ? Reason::runner_lost : Reason::exit_code, ""});
  co_return out;
}

Task<Result<void>> SimulatedExecutor::forget(AttemptId attempt) {
  auto at = known_.find(attempt);
  if (at != known_.end() && at->second->running) co_return fail(Errc::conflict, "it runs");
  known_.erase(attempt);
  co_return Result<void>{};
}

void SimulatedExecutor::power_off() {
  on_end_ = {};
  for (auto& [attempt, runner] : known_) runner->killed = true;
}

Task<void> SimulatedExecutor::live(std::shared_ptr<Runner> runner) {
  co_await sleep_for(clock_, chance_.up_to(30ms));
  auto answer = co_await ask<StartAnswer>(runner, [runner](Attempts& server) {
    return server.start(runner->spec.attempt, {runner->spec.boot_token, runner->name});
  });
  if (answer) co_await work(runner, *std::move(answer));
  runner->running = false;
  if (on_end_) on_end_({runner->spec.attempt, false, runner->killed ? Reason::runner_lost : Reason::exit_code, ""});
}

Task<bool> SimulatedExecutor::ship(std::shared_ptr<Runner> runner, const StartAnswer& answer, const std::string& log, std::int64_t from) {
  for (;;) {
    std::string frames;
    for (auto at = std::size_t(from); at < log.size(); at += line_bytes)
      append_frame(frames, {std::int64_t(at), clock_.now(), 0, LogStream::out, std::string_view(log).substr(at, line_bytes)});
    auto size = std::int64_t(log.size());
    auto taken = co_await ask<LogsAnswer>(runner, [&](Attempts& server) {
      return server.logs(runner->spec.attempt, credentials(answer), frames);
    });
    if (!taken) co_return false;
    if (taken->next >= size) co_return true;
    from = taken->next;
  }
}

Task<bool> SimulatedExecutor::steps(std::shared_ptr<Runner> runner, const StartAnswer& answer, FinishReport& report, std::string& log) {
  auto& spec = answer.job.spec;
  auto script = spec.steps.at(0).run;
  auto attempt = answer.job.env.at("CI_ATTEMPT");
  auto seconds = script == "slow" ? 20 : 1 + int(chance_.below(4));
  for (int second = 0; second < seconds; ++second) {
    auto line = spec.name + " attempt " + attempt + " second " + std::to_string(second);
    log += line + std::string(line_bytes - 1 - std::min(line.size(), line_bytes - 1), '.') + "\n";
    auto from = std::int64_t(log.size() - line_bytes);
    if (!co_await ship(runner, answer, log, from)) co_return false;
    co_await sleep_for(clock_, 1s);
    if (chance_.happens(chance_.faults().runner_dies)) runner->killed = true;
    if (runner->killed) co_return false;
    auto beat = co_await ask<HeartbeatAnswer>(runner, [&](Attempts& server) {
      return server.heartbeat(runner->spec.attempt, credentials(answer), {.wait_ms = 0});
    });
    if (!beat) co_return false;
    if (beat->cancel) {
      report.outcome = Outcome::canceled;
      report.reason = Reason::canceled;
      co_return true;
    }
  }
  bool fails = script == "fail" || (script == "flaky" && attempt == "1");
  report.outcome = fails ? Outcome::failure : Outcome::success;
  report.reason = fails ? Reason::exit_code : Reason::none;
  co_return true;
}

Task<void> SimulatedExecutor::work(std::shared_ptr<Runner> runner, StartAnswer answer) {
  auto id = runner->spec.attempt;
  auto job = JobId::parse(answer.job.env.at("CI_JOB_ID"));
  ++deeds_.begun[id];
  deeds_.of_job[*job].insert(id);
  deeds_.most_at_once = std::max(deeds_.most_at_once, ++deeds_.at_once);
  FinishReport report;
  auto& log = deeds_.logs[id];
  bool alive = co_await steps(runner, answer, report, log);
  --deeds_.at_once;
  if (!alive) co_return;
  report.log_bytes = std::int64_t(log.size());
  report.steps = {{.name = answer.job.spec.steps[0].name, .status = report.outcome == Outcome::success ? StepStatus::succeeded : StepStatus::failed}};
  for (;;) {
    // A server that was restarted may have lost the last of the log: it says so, and gets it again.
    if (!co_await ship(runner, answer, log, 0)) co_return;
    auto finished = co_await ask<void>(runner, [&](Attempts& server) { return server.finish(id, credentials(answer), report); });
    if (finished || finished.error().code != Errc::invalid) co_return;
  }
}

}  // namespace mayfly::simulation
