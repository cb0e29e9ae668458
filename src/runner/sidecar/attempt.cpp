#include "runner/sidecar/attempt.h"

#include <algorithm>

#include "base/log.h"
#include "domain/logs/masker.h"
#include "domain/pipeline/expression.h"

namespace mayfly {
namespace {

Standing standing_of(JobSoFar so_far) {
  switch (so_far) {
    case JobSoFar::success: return Standing::success;
    case JobSoFar::failure: return Standing::failure;
    case JobSoFar::canceled: return Standing::canceled;
  }
  return Standing::failure;
}

ExpressionContext context_of(const RunnerJob& job, const AskCondition& question) {
  ExpressionContext context;
  context.event = job.event;
  context.env = question.env;
  context.matrix = job.spec.matrix;
  for (auto& need : job.needs) context.needs[need.name] = {.status = need.status, .outputs = need.outputs};
  context.standing = standing_of(question.so_far);
  return context;
}

/// A `finally` step runs whatever happened, unless its `if` asks what did.
Result<bool> evaluate_step_condition(const StepSpec& step, ExpressionContext context) {
  auto parsed = parse_condition(step.condition);
  if (step.finally && parsed && !parsed->asks_standing()) context.standing = Standing::success;
  return evaluate_condition(step.condition, context);
}

FinishReport infrastructure(Reason reason, std::string detail) {
  FinishReport report;
  report.outcome = Outcome::infrastructure;
  report.reason = reason;
  report.detail = std::move(detail);
  return report;
}

/// See launch_sandbox and launch_in_docker.
Reason reason_of_launch(const Error& error) {
  if (error.message.starts_with("image: ")) return Reason::image_pull;
  switch (error.code) {
    case Errc::not_found:
    case Errc::unsupported:
    case Errc::invalid:
    case Errc::forbidden:   // by a registry
    case Errc::timeout:     // of one
      return Reason::image_pull;
    case Errc::too_large: return Reason::disk_full;
    default: return Reason::runner_lost;
  }
}

/// What this pool does not do, or an image that is not there, is no different at the next try.
FinishReport not_launched(const Error& error) {
  auto reason = reason_of_launch(error);
  auto report = infrastructure(reason, "the job's sandbox could not be started: " + error.message + (error.hint.empty() ? "" : " (" + error.hint + ")"));
  bool may_pass = reason != Reason::image_pull || error.code == Errc::timeout || error.code == Errc::unavailable;
  if (!may_pass) report.outcome = Outcome::failure;
  return report;
}

}  // namespace

Attempt::Attempt(AttemptParts parts, StartAnswer answer)
    : p_(std::move(parts)), job_(std::move(answer.job)), shipper_(p_.api, p_.log, p_.clock), shells_(p_.loop, p_.api, p_.link, p_.clock), filling_(p_.loop), started_(p_.clock.now()) {
  auto& checkout = job_.source.checkout;
  if (checkout.enabled && checkout.submodules) steps_.push_back({.name = "check out submodules"});
  steps_before_ = steps_.size();
  for (auto& step : job_.spec.steps) steps_.push_back({.name = step.name});
}

Attempt::~Attempt() = default;

Sandbox* Attempt::sandbox() const { return p_.sandbox && *p_.sandbox ? (*p_.sandbox)->get() : nullptr; }

Task<SidecarEnd> Attempt::run() {
  Scope scope(p_.loop);
  scope.spawn(course());
  scope.spawn(heartbeat());
  scope.spawn(ship_log());
  scope.spawn(watch_log());
  scope.spawn(report_steps());
  scope.spawn(listen());
  scope.spawn(p_.link.write_all());
  co_await until([this] { return end_.has_value(); }, Time::max());
  if (workspace_) workspace_->stop();
  shells_.cancel();
  scope.cancel();
  co_await shells_.join();
  co_await scope.join();
  co_return *std::move(end_);
}

Task<bool> Attempt::until(std::function<bool()> done, Time at) {
  while (!done()) {
    if (p_.clock.now() >= at) co_return false;
    co_await news_.wait(p_.clock, at);
  }
  co_return true;
}

Task<void> Attempt::course() {
  std::optional<FinishReport> early;
  if (p_.spec.lost.empty()) early = co_await prepare();
  else early = infrastructure(Reason::runner_lost, p_.spec.lost);
  FinishReport report;
  if (early) report = *std::move(early);
  else report = co_await run_steps();
  co_await shells_.finish(p_.clock.now() + shell_words_limit);
  co_await deliver(report);
  if (end_) co_return;
  shipper_.end();
  co_await until([this] { return shipped_; }, Time::max());
  co_await await_platform(report);
  if (!end_) co_await finish(std::move(report));
}

/// The pool may see why the job's container is gone, and end the attempt for that reason; the heartbeat hears of it.
Task<void> Attempt::await_platform(const FinishReport& report) {
  bool unexplained = report.reason == Reason::runner_lost && p_.spec.lost.empty();
  if (unexplained && !evicted_) co_await until([this] { return end_ || evicted_; }, p_.clock.now() + p_.spec.platform_patience);
}

FinishReport Attempt::stopped_early() const {
  if (evicted_) return infrastructure(Reason::evicted, evicted_detail);
  FinishReport report;
  report.outcome = Outcome::canceled;
  report.reason = Reason::canceled;
  report.detail = "the job was canceled before its first step";
  return report;
}

/// An early end, if the job cannot run.
Task<std::optional<FinishReport>> Attempt::prepare() {
  while (!p_.sandbox) co_await p_.launched.wait(p_.clock);
  if (!*p_.sandbox) {
    if (cancel_) co_return stopped_early();
    co_return not_launched(p_.sandbox->error());
  }
  if (cancel_) co_return stopped_early();
  workspace_ = std::make_unique<Workspace>(p_.api, p_.offload, sandbox()->paths(), p_.spec.sandbox.attempt_dir, job_);
  std::optional<FinishReport> early;
  filling_.spawn(fill(early));
  filling_.spawn(start_services(early));
  co_await filling_.join();
  if (cancel_) co_return stopped_early();
  if (early) co_return early;
  log_info("the workspace is ready", {{"attempt", p_.spec.runner.attempt.str()}, {"source_us", std::to_string(workspace_->source_time().count())}});
  co_return std::nullopt;
}

Task<void> Attempt::fill(std::optional<FinishReport>& early) {
  auto filled = co_await workspace_->fill();
  if (!filled) {
    if (is_final(filled.error())) give_up(filled.error());
    co_return stop_filling(early, infrastructure(Reason::source, "the workspace could not be prepared: " + filled.error().message));
  }
  auto network = co_await sandbox()->network_ready();
  if (!network) stop_filling(early, infrastructure(Reason::runner_lost, "the job's network did not come up: " + network.error().message));
}

Task<void> Attempt::start_services(std::optional<FinishReport>& early) {
  auto failure = co_await sandbox()->start_services();
  if (!failure) co_return;
  auto report = infrastructure(failure->reason, failure->what);
  if (!failure->again) report.outcome = Outcome::failure;
  service_failure_ = std::move(failure);
  stop_filling(early, std::move(report));
}

/// The first failure counts; what goes on beside it ends.
void Attempt::stop_filling(std::optional<FinishReport>& early, FinishReport why) {
  if (!early) early = std::move(why);
  p_.stop.request_stop();
  if (workspace_) workspace_->stop();
  filling_.cancel();
}

InitJob Attempt::init_job() const {
  InitJob out;
  auto& spec = job_.spec;
  if (steps_before_ > 0) out.steps.push_back({.name = steps_[0].name, .run = submodule_script(job_.source.checkout), .shell = "sh"});
  for (auto& step : spec.steps)
    out.steps.push_back({.name = step.name, .run = step.run, .shell = step.shell, .env = step.env, .condition = step.condition,
                         .timeout = step.timeout, .finally = step.finally});
  out.env = job_.env;
  out.secrets = job_.secrets;
  out.log_begin = p_.log.said_end();
  // A volume's top belongs to the platform, and git trusts no repository that lies in somebody else's directory.
  if (!sandbox()->paths().owned && !out.env.contains("GIT_CONFIG_COUNT"))
    out.env.insert({{"GIT_CONFIG_COUNT", "1"}, {"GIT_CONFIG_KEY_0", "safe.directory"}, {"GIT_CONFIG_VALUE_0", sandbox()->paths().workspace_inside}});
  out.hold = std::clamp<Duration>(spec.hold, Duration::zero(), max_hold);
  out.timeout = std::max<Duration>(std::chrono::milliseconds(1), spec.timeout - (p_.clock.now() - started_));
  return out;
}

Task<FinishReport> Attempt::run_steps() {
  auto what = init_job();
  auto limit = p_.clock.now() + what.timeout + what.term_grace + what.finally_limit + init_patience;
  if (p_.spec.runner.timeout > Duration::zero()) limit = std::min(limit, started_ + p_.spec.runner.timeout);
  p_.link.send(ToInit(std::move(what)));
  running_ = true;
  shells_.job_runs();
  if (cancel_) p_.link.send(ToInit(*cancel_));
  Evidence evidence;
  Scope watching(p_.loop);
  watching.spawn(watch_services());
  evidence.out_of_time = !co_await until([this] { return done_ || hung_up_ || !breach_.empty(); }, limit);
  watching.cancel();
  co_await watching.join();
  running_ = false;
  co_await close_sandbox(evidence);
  co_return judge(evidence);
}

/// A service that ends takes the job with it: its steps are stopped, what is `finally` still runs.
Task<void> Attempt::watch_services() {
  auto failure = co_await sandbox()->service_ended();
  if (!failure || done_ || cancel_) co_return;
  service_failure_ = std::move(failure);
  p_.link.send(ToInit(CancelJob{.grace = default_cancel_grace, .outcome = Outcome::canceled, .why = service_failure_->what}));
}

/// A last word means that init is about to go; if it does not, it is made to.
Task<void> Attempt::close_sandbox(Evidence& evidence) {
  if (!done_ || !breach_.empty()) sandbox()->kill();
  auto patience = p_.clock.make_timer();
  std::optional<Result<SandboxExit>> exit;
  Scope both(p_.loop);
  both.spawn(kill_late(*patience));
  both.spawn(wait_for_exit(*patience, exit));
  co_await both.join();
  evidence.done = done_;
  evidence.canceled = cancel_ && !evicted_;
  evidence.evicted = evicted_;
  evidence.out_of_memory = sandbox()->out_of_memory();
  evidence.disk_full = sandbox()->disk_full();
  evidence.memory_bytes = p_.spec.sandbox.memory_bytes;
  evidence.disk_bytes = p_.spec.sandbox.disk_bytes;
  evidence.sandbox_detail = *exit ? (*exit)->detail : exit->error().message;
  evidence.breach = breach_;
  if (service_failure_) evidence.service = service_failure_->what;
}

Task<void> Attempt::kill_late(Timer& patience) {
  if (co_await patience.wait_until(p_.clock.now() + exit_patience)) sandbox()->kill();
}

Task<void> Attempt::wait_for_exit(Timer& patience, std::optional<Result<SandboxExit>>& exit) {
  exit = co_await sandbox()->wait();
  patience.cancel();
}

bool Attempt::wants_artifacts(const FinishReport& report) const {
  switch (job_.spec.artifacts.when) {
    case ArtifactsWhen::always: return true;
    case ArtifactsWhen::success: return report.outcome == Outcome::success;
    case ArtifactsWhen::failure: return report.outcome == Outcome::failure || report.outcome == Outcome::timeout;
  }
  return false;
}

/// Reports, artifacts and outputs, from a workspace in which nothing runs any more.
Task<void> Attempt::deliver(FinishReport& report) {
  Workspace::Notes notes;
  bool ran = done_.has_value();
  if (!ran) {
    if (sandbox()) sandbox()->kill();
    notes.push_back(report.detail);
  }
  add_service_lines(notes);
  if (ran) report.tests = co_await workspace_->read_tests(notes);
  Result<void> delivered;
  // Of a canceled attempt the server takes the last words and nothing else; one that is told to go has no time.
  bool keep = ran && !cancel_ && report.reason != Reason::evicted;
  if (keep && wants_artifacts(report)) delivered = co_await workspace_->upload_artifacts(notes);
  if (keep && delivered && report.outcome == Outcome::success) delivered = co_await workspace_->upload_outputs(notes);
  if (!delivered && delivered.error().code != Errc::fenced) {  // canceled meanwhile, or not ours: finish() will hear it
    if (is_final(delivered.error())) give_up(delivered.error());
    notes.push_back(delivered.error().message + (delivered.error().hint.empty() ? "" : "; " + delivered.error().hint));
    if (report.outcome == Outcome::success) {
      report.outcome = Outcome::failure;
      report.reason = Reason::exit_code;
      report.detail = "the artifacts could not be stored: " + delivered.error().message;
    }
  }
  for (auto& note : notes)
    if (auto said = p_.log.say(note, p_.clock.now()); !said) log_warn("a note could not be logged", {{"error", said.error().message}});
}

/// What a service said is not in the log unless it failed. It may have been told secrets by the job.
void Attempt::add_service_lines(Workspace::Notes& notes) {
  if (!service_failure_ || service_failure_->last_lines.empty()) return;
  std::vector<std::string> secrets;
  for (auto& [name, value] : job_.secrets) secrets.push_back(value);
  auto patterns = MaskPatterns::make(secrets);
  if (done_ && done_->detail != service_failure_->what) notes.push_back(service_failure_->what);
  notes.push_back("the last lines of the service '" + service_failure_->name + "':");
  for (auto& line : service_failure_->last_lines) {
    Masker masker(patterns);
    std::string masked;
    masker.feed(line, masked);
    masker.finish(masked);
    notes.push_back("  " + service_failure_->name + " | " + masked);
  }
}

Task<void> Attempt::finish(FinishReport report) {
  for (auto& step : steps_)
    if (step.status == StepStatus::waiting) step.status = StepStatus::skipped;
    else if (step.status == StepStatus::running) step.status = report.outcome == Outcome::canceled ? StepStatus::canceled : StepStatus::failed;
  report.steps = pipeline_steps();
  report.log_bytes = shipper_.length();
  report.first_byte_at = shipper_.first_byte_at();
  finishing_ = true;
  auto finished = co_await p_.api.finish(report);
  for (int round = 0; round < max_log_resends && !finished && finished.error().code == Errc::invalid; ++round) {
    auto sent = co_await send_log_again();
    if (!sent) finished = std::unexpected(sent.error());
    if (!sent || !*sent) break;
    finished = co_await p_.api.finish(report);
  }
  if (!finished) give_up(finished.error());
  if (!end_) end_ = SidecarEnd{};
  news_.notify();
}

/// A server that was restarted between the log's last byte and the report, or a bus that was, has less of it than was said.
/// False: it has all.
Task<Result<bool>> Attempt::send_log_again() {
  CO_TRY_ASSIGN(bool lacks, co_await shipper_.lacks());
  if (lacks) CO_TRY(co_await shipper_.run());
  co_return lacks;
}

std::vector<StepState> Attempt::pipeline_steps() const { return {steps_.begin() + static_cast<std::ptrdiff_t>(steps_before_), steps_.end()}; }

void Attempt::cancel(Duration grace) {
  if (cancel_) return;
  cancel_ = CancelJob{.grace = grace, .outcome = Outcome::canceled};
  if (evicted_) cancel_->finally_limit = grace;
  if (workspace_) workspace_->stop();
  filling_.cancel();
  if (running_) p_.link.send(ToInit(*cancel_));
  news_.notify();
}

void Attempt::evict(Duration grace) {
  if (cancel_) return;
  evicted_ = true;
  cancel(grace);
}

bool Attempt::is_final(const Error& error) const {
  return error.code == Errc::fenced || error.code == Errc::unauthenticated || error.code == Errc::timeout;
}

void Attempt::give_up(const Error& error) {
  if (end_) return;
  log_warn("the attempt is given up", {{"attempt", p_.spec.runner.attempt.str()}, {"why", error.message}});
  end_ = SidecarEnd{.reason = error.code == Errc::timeout ? Reason::runner_lost : Reason::exit_code, .detail = error.message};
  if (sandbox()) sandbox()->kill();
  news_.notify();
}

Task<void> Attempt::heartbeat() {
  auto answered = p_.clock.now();
  for (int failures = 0;;) {
    auto asked = p_.clock.now();
    auto answer = co_await p_.api.heartbeat({.wait_ms = heartbeat_interval / std::chrono::milliseconds(1)});
    auto now = p_.clock.now();
    if (answer) {
      failures = 0;
      answered = now;
      shipper_.durable(answer->durable);
      bool known = cancel_.has_value();
      if (answer->cancel) cancel(std::chrono::milliseconds(answer->grace_ms));
      shells_.want(answer->shells);
      if (answer->release && running_ && !std::exchange(released_, true)) p_.link.send(ReleaseHold{});
      if (known) co_await sleep_for(p_.clock, heartbeat_interval);
      else if (now - asked < shortest_heartbeat) co_await sleep_for(p_.clock, shortest_heartbeat);
      continue;
    }
    if (finishing_) co_return;  // the attempt is over because we said so
    if (answer.error().code != Errc::unavailable) co_return give_up(answer.error());
    if (now - answered > p_.api.limits().give_up_after)
      co_return give_up({Errc::timeout, "the server did not answer for " + format_duration(now - answered) + ": " + answer.error().message, {}});
    co_await sleep_for(p_.clock, std::min<Duration>(std::chrono::seconds(2), std::chrono::milliseconds(100) * (1 << std::min(failures++, 5))));
  }
}

Task<void> Attempt::ship_log() {
  if (auto& folder = p_.spec.log_files; !folder.empty()) {
    auto lines = LogLines::create(folder + "/" + p_.spec.runner.attempt.str() + ".jsonl");
    if (lines) shipper_.leave_to(*std::move(lines));
    else log_warn("the log is shipped by the runner itself", {{"why", lines.error().message}});
  }
  auto shipped = co_await shipper_.run();
  if (!shipped) {
    if (shipped.error().code == Errc::corrupt) {
      breach(shipped.error().message);
    } else {
      co_return give_up(shipped.error());
    }
  }
  shipped_ = true;
  news_.notify();
}

Task<void> Attempt::watch_log() {
  FileWatch watch(p_.loop, p_.spec.sandbox.attempt_dir + "/log");
  for (;;) {
    co_await watch.changed();
    shipper_.look();
  }
}

Task<void> Attempt::report_steps() {
  for (;;) {
    co_await steps_changed_.wait(p_.clock);
    co_await sleep_for(p_.clock, step_report_delay);
    auto reported = co_await p_.api.steps({.steps = pipeline_steps(), .first_byte_at = shipper_.first_byte_at(), .held_until = held_until_});
    if (reported) continue;
    // Nothing hangs on it: a cancel may be on its way, and whether the attempt is still ours the heartbeat knows.
    log_warn("the server does not take the steps' states", {{"error", reported.error().message}});
  }
}

Task<void> Attempt::listen() {
  for (;;) {
    auto message = co_await p_.link.receive();
    if (!message) {
      hung_up_ = true;
      if (message.error().code != Errc::unavailable) breach(message.error().message);
      break;
    }
    if (auto* change = std::get_if<StepChange>(&*message)) on_change(*change);
    else if (auto* question = std::get_if<AskCondition>(&*message)) on_question(*question);
    else if (auto* hold = std::get_if<HoldChange>(&*message)) on_hold(*hold);
    else if (auto* done = std::get_if<InitDone>(&*message)) done_ = std::move(*done);
    else if (!on_shell(*message)) breach("a word about a shell that nobody opened, or more of one than anybody takes");
    if (done_) break;
  }
  news_.notify();
}

void Attempt::on_change(const StepChange& change) {
  auto i = static_cast<std::size_t>(change.step);
  if (i >= steps_.size()) return breach("a step that the job does not have");
  auto name = std::move(steps_[i].name);
  steps_[i] = change.state;
  steps_[i].name = std::move(name);
  steps_changed_.notify();
}

void Attempt::on_question(const AskCondition& question) {
  auto i = static_cast<std::size_t>(question.step);
  if (i < steps_before_ || i >= steps_.size()) return breach("a question about a step that the job does not have");
  auto runs = evaluate_step_condition(job_.spec.steps[i - steps_before_], context_of(job_, question));
  p_.link.send(ToInit(ConditionAnswer{.step = question.step, .run = runs.value_or(false), .error = runs ? "" : runs.error().message}));
}

bool Attempt::on_shell(FromInit& message) {
  if (auto* output = std::get_if<ShellOutput>(&message)) return shells_.take(std::move(*output));
  if (auto* taken = std::get_if<ShellTaken>(&message)) return shells_.take(*taken);
  if (auto* ended = std::get_if<ShellEnded>(&message)) return shells_.take(std::move(*ended));
  return false;
}

void Attempt::on_hold(const HoldChange& hold) {
  if (job_.spec.hold <= Duration::zero()) return breach("a hold that nobody asked for");
  held_until_ = hold.until ? std::optional(std::min(*hold.until, p_.clock.now() + job_.spec.hold)) : std::nullopt;
  steps_changed_.notify();
}

void Attempt::breach(std::string what) {
  if (!breach_.empty()) return;
  log_warn("the job tampers with its runner", {{"attempt", p_.spec.runner.attempt.str()}, {"what", what}});
  breach_ = std::move(what);
  news_.notify();
}

}  // namespace mayfly
