#include "runner/init/job.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "runner/init/kv_file.h"

namespace mayfly {
namespace {

constexpr const char* spare_tmp = "/dev/shm";   // every container has it, also one whose root is read-only

bool is_writable(const std::string& directory) { return ::access(directory.c_str(), W_OK | X_OK) == 0; }

/// A home nobody may write to is what container engines give to a uid the image does not know.
Env with_defaults(Env env, const std::string& home) {
  env.emplace("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
  if (auto given = env.find("HOME"); given == env.end() || !is_writable(given->second)) env["HOME"] = home;
  env.emplace("USER", "ci");
  env.emplace("SHELL", "/bin/sh");
  env.emplace("TMPDIR", "/tmp");
  return env;
}

void merge(Env& into, const Env& from) {
  for (auto& [key, value] : from) into.insert_or_assign(key, value);
}

std::string base_name(std::string_view path) { return std::string(path.substr(path.rfind('/') + 1)); }

}  // namespace

Job::Job(Events& events, StepStarter& starter, LogWriter& log, JobShells& shells, InitJob job, Settings settings)
    : events_(events), starter_(starter), log_(log), shells_(shells), job_(std::move(job)), settings_(std::move(settings)) {
  for (auto& step : job_.steps) states_.push_back({.name = step.name});
  job_end_ = steady_now() + job_.timeout;
  memory_kills_before_ = memory_kills();
}

InitDone Job::run() {
  bool has_tmp = is_writable(settings_.tmp);
  auto scratch = Scratch::make(has_tmp ? settings_.tmp : spare_tmp);
  if (scratch) {
    scratch_.emplace(*std::move(scratch));
    if (!has_tmp) settings_.env["TMPDIR"] = scratch_->path();
    auto home = scratch_->path() + "/home";
    ::mkdir(home.c_str(), 0700);
    settings_.env = with_defaults(std::move(settings_.env), home);
    shells_.allow({.patterns = log_.patterns(), .command = [this](const ShellWish& wish) { return shell_command(wish); },
                   .say = [this](std::string line) { log_.say(number(current_), line, steady_now()); }});
  } else {
    done_.outcome = Outcome::failure;
    done_.detail = "the image cannot run steps: " + scratch.error().message;
    log_.say(0, done_.detail, steady_now());
  }
  for (std::size_t i = 0; i < job_.steps.size(); ++i) {
    check_stop();
    current_ = i;
    bool well = done_.outcome == Outcome::success;
    if (scratch_) run_step(i);
    else set_status(i, StepStatus::skipped);
    if (scratch_ && well && done_.outcome != Outcome::success) hold(i);
  }
  check_stop();
  shells_.end_all("the job has ended");
  kill_all();
  events_.wait([&] { return !events_.has_streams(); }, steady_now() + kill_patience);
  log_.finish(steady_now());
  events_.wait([&] { return log_.backlog() == 0; }, steady_now() + kill_patience);
  if (log_.backlog() != 0) {
    done_.outcome = Outcome::infrastructure;
    done_.detail = "the log could not be written to the runner's disk";
  }
  done_.log_bytes = log_.offset();
  done_.dropped_bytes = log_.dropped();
  done_.out_of_memory = memory_kills() > memory_kills_before_;
  return std::move(done_);
}

void Job::hold(std::size_t i) {
  if (job_.hold <= Duration::zero() || held_ || stopped_ != Stopped::no) return;
  held_ = true;
  auto until = std::min(steady_now() + job_.hold, job_end_);
  log_.say(number(i), "the job is held for a shell until " + to_rfc3339(std::chrono::floor<std::chrono::seconds>(until)) + "; mayfly shell --release ends that", steady_now());
  events_.send(HoldChange{until});
  while (!events_.release && stopped_ == Stopped::no && steady_now() < until) {
    events_.wait([&] { return events_.release || events_.cancel; }, until);
    check_stop();
  }
  if (stopped_ == Stopped::no) log_.say(number(i), events_.release ? "the job was released" : "the time for a shell is over", steady_now());
  events_.send(HoldChange{});
}

void Job::run_step(std::size_t i) {
  states_[i].log_start = states_[i].log_end = log_.offset();
  if (should_run(i)) execute(i);
  else if (states_[i].status == StepStatus::waiting) set_status(i, StepStatus::skipped);
}

JobSoFar Job::so_far() const {
  if (stopped_ == Stopped::canceled) return JobSoFar::canceled;
  return done_.outcome == Outcome::success ? JobSoFar::success : JobSoFar::failure;
}

bool Job::should_run(std::size_t i) {
  if (stopped_ != Stopped::no && steady_now() >= limit()) return false;
  auto& step = job_.steps[i];
  if (!step.condition.empty()) return ask(i);
  return step.finally || so_far() == JobSoFar::success;
}

bool Job::ask(std::size_t i) {
  AskCondition question{.step = static_cast<std::int64_t>(i), .so_far = so_far(), .env = job_.env, .outputs = done_.outputs};
  merge(question.env, later_env_);
  merge(question.env, job_.steps[i].env);
  events_.answer.reset();
  events_.send(question);
  auto answered = [&] { return events_.answer && events_.answer->step == question.step; };
  while (!events_.wait([&] { return answered() || events_.cancel; }, limit()) || !answered()) {
    check_stop();
    if (stopped_ != Stopped::no) return false;
  }
  if (!events_.answer->error.empty()) {
    fail_step(i, quoted(i) + " has an `if` that cannot be evaluated: " + events_.answer->error);
    set_status(i, StepStatus::failed);
  }
  return events_.answer->run && events_.answer->error.empty();
}

void Job::execute(std::size_t i) {
  states_[i].start_time = steady_now();
  set_status(i, StepStatus::running);
  step_timed_out_ = interrupted_ = false;
  auto files = StepFiles::make(scratch_->path(), i, job_.steps[i].run);
  std::optional<StepCommand> what;
  if (files) what = command(i, *files);
  else fail_step(i, quoted(i) + " could not be started: " + files.error().message);
  if (what) {
    auto process = starter_.start(*what);
    if (process) {
      events_.expect_exit(process->pid);
      events_.add_stream(process->out, number(i), LogStream::out);
      events_.add_stream(process->err, number(i), LogStream::err);
      wait_for_end(i, process->pid);
      auto status = events_.take_exit(process->pid);
      events_.wait([&] { return !events_.has_streams(number(i)); }, steady_now() + output_linger);
      judge(i, status.value_or(SIGKILL));
      collect(i, *files);
    } else {
      fail_step(i, quoted(i) + " could not be started: " + process.error().message);
    }
  }
  states_[i].end_time = steady_now();
  states_[i].log_end = log_.offset();
  if (states_[i].status == StepStatus::running) set_status(i, StepStatus::succeeded);
  else set_status(i, states_[i].status);
}

void Job::wait_for_end(std::size_t i, pid_t pid) {
  auto& step = job_.steps[i];
  Time step_end = step.timeout ? *states_[i].start_time + *step.timeout : Time::max();
  auto ended = [&] { return events_.has_exited(pid); };
  while (!events_.wait([&] { return ended() || events_.cancel; }, std::min(step_end, limit())) || !ended()) {
    check_stop();
    if (ended()) return;
    if (steady_now() >= step_end) {
      step_timed_out_ = true;
      log_.say(number(i), quoted(i) + " timed out after " + format_duration(*step.timeout), steady_now());
      return end_group(pid);
    }
    if (stopped_ != Stopped::no && steady_now() >= limit()) {
      interrupted_ = true;
      log_.say(number(i), quoted(i) + " was stopped: its time after the end of the job is over", steady_now());
      signal_all(SIGKILL);
      events_.wait(ended, steady_now() + kill_patience);
      return;
    }
  }
}

void Job::end_group(pid_t pid) {
  auto ended = [&] { return events_.has_exited(pid); };
  ::kill(-pid, SIGTERM);
  events_.wait([&] { return ended() || events_.cancel; }, std::min(steady_now() + job_.term_grace, limit()));
  ::kill(-pid, SIGKILL);  // also what the step's shell left behind in its group
  events_.wait(ended, steady_now() + kill_patience);
}

/// Acts on a cancel, and on the job's time being over.
void Job::check_stop() {
  if (events_.cancel) {
    auto cancel = *std::exchange(events_.cancel, std::nullopt);
    if (!cancel.why.empty()) cancel_detail_ = cancel.why;
    if (stopped_ == Stopped::no)
      stop_all(cancel.outcome == Outcome::timeout ? Stopped::timed_out : Stopped::canceled, cancel.grace, cancel.finally_limit.value_or(job_.finally_limit));
    else
      finally_end_ = steady_now();  // asked again: nothing runs nevertheless
  }
  if (stopped_ == Stopped::no && steady_now() >= job_end_) stop_all(Stopped::timed_out, job_.term_grace, job_.finally_limit);
}

void Job::stop_all(Stopped why, Duration grace, Duration finally_limit) {
  stopped_ = why;
  interrupted_ = true;
  bool canceled = why == Stopped::canceled;
  auto detail = canceled ? cancel_detail_ : "the job timed out after " + format_duration(job_.timeout);
  if (done_.outcome == Outcome::success) {
    done_.outcome = canceled ? Outcome::canceled : Outcome::timeout;
    done_.detail = detail;
  }
  log_.say(0, detail, steady_now());
  shells_.end_all(detail);
  signal_all(SIGTERM);
  finally_end_ = steady_now() + grace + finally_limit;
  bool gone = events_.childless() || events_.wait([&] { return events_.childless() || events_.cancel; }, steady_now() + grace);
  if (gone && events_.childless()) return;
  signal_all(SIGKILL);
  events_.wait([&] { return events_.childless(); }, steady_now() + kill_patience);
}

void Job::judge(std::size_t i, int status) {
  bool by_signal = WIFSIGNALED(status);
  int code = by_signal ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  states_[i].exit_code = code;
  if (step_timed_out_) {
    states_[i].status = StepStatus::failed;
    if (done_.outcome == Outcome::success) {
      done_.outcome = Outcome::timeout;
      done_.detail = quoted(i) + " timed out after " + format_duration(*job_.steps[i].timeout);
    }
  } else if (interrupted_ && code != 0) {
    states_[i].status = stopped_ == Stopped::canceled ? StepStatus::canceled : StepStatus::failed;
  } else if (by_signal && WTERMSIG(status) == SIGKILL) {
    done_.killed = true;
    fail_step(i, quoted(i) + " was killed (SIGKILL); perhaps out of memory");
  } else if (by_signal) {
    fail_step(i, quoted(i) + " was ended by signal " + std::to_string(WTERMSIG(status)) + " (" + ::strsignal(WTERMSIG(status)) + ")");
  } else if (code != 0) {
    if (code == 128 + SIGKILL) done_.killed = true;  // a shell saying so of its child
    states_[i].status = StepStatus::failed;
    if (done_.outcome == Outcome::success) {
      done_.outcome = Outcome::failure;
      done_.detail = quoted(i) + " ended with exit code " + std::to_string(code);
    }
  }
  if (done_.outcome != Outcome::success && !done_.exit_code && code != 0) done_.exit_code = code;
}

void Job::collect(std::size_t i, const StepFiles& files) {
  auto read = [&](std::string_view name, Result<std::string> text, bool dashes) -> std::optional<std::map<std::string, std::string>> {
    Result<std::map<std::string, std::string>> values = std::unexpected(Error{});
    if (text) values = parse_key_values(*text, dashes);
    else values = std::unexpected(text.error());
    if (values) return *std::move(values);
    fail_step(i, quoted(i) + " wrote a $" + std::string(name) + " that cannot be used: " + values.error().message);
    return std::nullopt;
  };
  if (auto env = read("CI_ENV", files.read_env(), false)) merge(later_env_, *env);
  if (auto outputs = read("CI_OUTPUT", files.read_output(), true)) take_outputs(i, *std::move(outputs));
}

void Job::take_outputs(std::size_t i, std::map<std::string, std::string> values) {
  for (auto& [key, value] : values) {
    if (log_.holds_secret(value)) {
      log_.say(number(i), "the output '" + key + "' holds a secret and is not handed on", steady_now());
      continue;
    }
    kept_bytes_ += key.size() + value.size();
    if (kept_bytes_ > max_step_output_bytes)
      return fail_step(i, quoted(i) + " brought the job's outputs over the limit of " + std::to_string(max_step_output_bytes) + " bytes");
    done_.outputs.insert_or_assign(key, std::move(value));
  }
}

Env Job::step_env(std::size_t i) const {
  Env env = settings_.env;
  merge(env, job_.env);
  merge(env, job_.secrets);
  merge(env, later_env_);
  merge(env, job_.steps[i].env);
  env.insert_or_assign("CI_WORKSPACE", settings_.workspace);
  std::erase_if(env, [](auto& e) { return e.first.empty() || e.first.find('=') != e.first.npos; });
  return env;
}

std::string Job::find_program(std::string_view name, const Env& env) const {
  std::string_view path = env.at("PATH");
  while (!path.empty()) {
    auto end = path.find(':');
    auto candidate = std::string(path.substr(0, end)) + "/" + std::string(name);
    path.remove_prefix(end == path.npos ? path.size() : end + 1);
    struct stat info;
    if (candidate.front() == '/' && ::access(candidate.c_str(), X_OK) == 0 && ::stat(candidate.c_str(), &info) == 0 && S_ISREG(info.st_mode))
      return candidate;
  }
  return {};
}

Result<StepCommand> Job::shell_command(const ShellWish& wish) const {
  if (!scratch_) return fail(Errc::unavailable, "the image cannot run a shell: it has no place for temporary files");
  StepCommand c{.argv = wish.command, .env = job_.steps.empty() ? settings_.env : step_env(current_), .directory = settings_.workspace};
  if (!wish.term.empty()) c.env.insert_or_assign("TERM", wish.term);
  if (c.argv.empty()) {
    auto shell = find_program("bash", c.env);
    c.argv = {shell.empty() ? find_program("sh", c.env) : shell};
    if (c.argv[0].empty()) return fail(Errc::not_found, "the image has no 'sh'");
  } else if (c.argv[0].find('/') == std::string::npos) {
    auto program = find_program(c.argv[0], c.env);
    if (program.empty()) return fail(Errc::not_found, "the job's PATH has no '" + c.argv[0] + "'");
    c.argv[0] = program;
  }
  return c;
}

std::optional<StepCommand> Job::command(std::size_t i, const StepFiles& files) {
  StepCommand c{.argv = {}, .env = step_env(i), .directory = settings_.workspace};
  c.env.insert_or_assign("CI_OUTPUT", files.output());
  c.env.insert_or_assign("CI_ENV", files.env());
  auto& wish = job_.steps[i].shell;
  std::string shell = wish;
  if (wish.empty()) {
    shell = find_program("bash", c.env);
    if (shell.empty()) shell = find_program("sh", c.env);
  } else if (wish.find('/') == wish.npos) {
    shell = find_program(wish, c.env);
  }
  if (shell.empty()) {
    fail_step(i, quoted(i) + " could not be started: the image has no '" + (wish.empty() ? "sh" : wish) + "'");
    return std::nullopt;
  }
  c.argv = {shell};
  if (base_name(shell) == "bash") c.argv.insert(c.argv.end(), {"--noprofile", "--norc"});
  c.argv.push_back("-e");
  if (wish == "bash") c.argv.insert(c.argv.end(), {"-o", "pipefail"});
  c.argv.push_back(files.script());
  return c;
}

/// Of a failure whose reason the log does not show by itself.
void Job::fail_step(std::size_t i, std::string detail) {
  log_.say(number(i), detail, steady_now());
  states_[i].status = StepStatus::failed;
  if (done_.outcome != Outcome::success) return;
  done_.outcome = Outcome::failure;
  done_.detail = std::move(detail);
}

void Job::set_status(std::size_t i, StepStatus status) {
  states_[i].status = status;
  events_.send(StepChange{.step = static_cast<std::int64_t>(i), .state = states_[i]});
}

}  // namespace mayfly
