#include "roles/runners/shells.h"

#include <algorithm>
#include <ranges>

#include "base/json.h"
#include "base/log.h"

namespace mayfly {
namespace {

constexpr std::string_view select_shells = "select at, body from events where build_id = $1 and kind = 'shell' order by sequence, part limit $2";

http::WebSocketMessage message_of(ShellFrame frame) { return {.text = frame.text, .bytes = std::move(frame.bytes)}; }
ShellFrame frame_of(http::WebSocketMessage message) { return {.text = message.text, .bytes = std::move(message.bytes)}; }

http::WebSocketClose refusal(const Error& error) { return {static_cast<std::uint16_t>(http::CloseCode::policy), error.message}; }

Task<void> say_exit(http::WebSocket& socket, std::string why) {
  (void)co_await socket.send(message_of(to_frame(ShellExit{.detail = std::move(why)})));
}

/// What one end may say to the other.
bool may_say(const ShellWord& word, bool from_viewer) {
  if (std::holds_alternative<ShellBytesTaken>(word)) return true;
  if (auto* data = std::get_if<ShellData>(&word)) return (data->stream == ShellStream::in) == from_viewer;
  if (std::holds_alternative<ShellExit>(word)) return !from_viewer;
  return from_viewer && !std::holds_alternative<ShellOpen>(word);
}

/// Ends a scope's children when it goes: whichever way is over first ends the other.
struct EndsBoth {
  Scope& both;
  ~EndsBoth() { both.cancel(); }
};

}  // namespace

Task<void> Shells::run() {
  auto words = cache_.subscribe(shells_channel);
  for (;;) {
    auto text = co_await words->next(clock_.now() + heartbeat_lost_after);
    if (!text) continue;
    std::vector<std::string> parts;
    for (auto part : std::views::split(*text, ' ')) parts.emplace_back(std::string_view(part));
    auto attempt = parts.size() >= 2 ? AttemptId::parse(parts[1]) : std::unexpected(Error{});
    if (!attempt) continue;
    if (parts[0] == "look") attempts_.nudge(*attempt);
    else if (parts[0] == "shell" && parts.size() == 3) attempts_.want_shell(*attempt, parts[2]);
  }
}

Task<Result<JobState>> Shells::find(JobId id, std::optional<int> attempt) {
  CO_TRY_ASSIGN(auto build, co_await build_of_job(db_, id));
  CO_TRY_ASSIGN(auto record, co_await builds_.get(build));
  auto* job = find_job(record->state, id);
  if (!job) co_return fail(Errc::not_found, "there is no job " + id.str());
  if (record->state.event.fork)
    co_return fail(Errc::forbidden, "the build is of a fork's code: nobody opens a shell in it", "build the commit from a branch of the project");
  if (job->status != JobStatus::running)
    co_return fail(Errc::conflict, "job '" + job->spec->name + "' is " + std::string(to_string(job->status)) + ", so there is nothing to look into",
                   is_terminal(job->status) ? "run it again and have it held when a step fails: mayfly retry BUILD JOB --hold 15m" : "try again when it runs");
  if (attempt && *attempt != job->attempt)
    co_return fail(Errc::conflict, "attempt " + std::to_string(*attempt) + " of job '" + job->spec->name + "' does not run; attempt " + std::to_string(job->attempt) + " does");
  co_return *job;
}

Task<Result<void>> Shells::note(JobId job, ShellNote note) {
  CO_TRY_ASSIGN(auto build, co_await build_of_job(db_, job));
  co_return co_await builds_.change(build, NoteShell{job, std::move(note)});
}

Task<void> Shells::look(JobId id, std::string who, http::WebSocket& socket) {
  auto first = co_await socket.receive();
  if (!first) co_return;
  auto word = shell_word_from(frame_of(*std::move(first)));
  auto* open = word ? std::get_if<ShellOpen>(&*word) : nullptr;
  if (!open) co_return socket.close_with(refusal(word ? Error{Errc::invalid, "the first message is {\"open\": …}", {}} : word.error()));
  open->who = who;
  auto job = co_await find(id, std::nullopt);
  if (!job) co_return co_await say_exit(socket, job.error().message);
  auto shell = make_id<Id<struct ShellTag>>(clock_, entropy_).str();
  auto opened = clock_.now();
  auto noted = co_await note(id, {.shell = shell, .who = who, .attempt = job->attempt});
  if (!noted) co_return co_await say_exit(socket, "the shell could not be put on record: " + noted.error().message);
  auto wire = co_await runner_of(job->attempt_id, shell);
  if (!wire) {
    auto closed = co_await note(id, {.shell = shell, .who = who, .attempt = job->attempt, .opened = false, .open_for = clock_.now() - opened, .detail = wire.error().message});
    if (!closed) log_warn("a shell's end could not be put on record", {{"shell", shell}, {"error", closed.error().message}});
    co_return co_await say_exit(socket, wire.error().message);
  }
  if (co_await (*wire)->send(to_frame(*open))) co_await talk(socket, *wire, true);
}

/// Waits for the runner, wherever it comes to. Its first frame, when that is elsewhere, says for which attempt.
Task<Result<std::shared_ptr<ShellWire>>> Shells::runner_of(AttemptId attempt, const std::string& shell) {
  auto wanted = std::make_shared<Wanted>();
  wanted->attempt = attempt;
  wanted->from_elsewhere = make_cache_wire(cache_, clock_, shell, WireEnd::viewer);
  struct Entry {
    std::map<std::string, std::shared_ptr<Wanted>>& map;
    std::map<std::string, std::shared_ptr<Wanted>>::iterator at;
    ~Entry() { map.erase(at); }
  } entry{wanted_, wanted_.emplace(shell, wanted).first};
  Scope listening(loop_);
  listening.spawn(hear_elsewhere(wanted));
  listening.spawn(wanted->from_elsewhere->run());
  auto until = clock_.now() + shell_patience;
  while (!wanted->viewer && !wanted->heard_elsewhere && clock_.now() < until) {
    (void)co_await cache_.publish(shells_channel, "shell " + attempt.str() + " " + shell);
    co_await wanted->came.wait(clock_, std::min(until, clock_.now() + shell_ask_again));
  }
  listening.cancel();
  co_await listening.join();
  if (wanted->viewer) co_return wanted->viewer;
  if (wanted->heard_elsewhere) co_return wanted->from_elsewhere;
  co_return fail(Errc::timeout, "the job's runner did not answer within " + format_duration(shell_patience), "it may have ended just now; else try again");
}

Task<void> Shells::hear_elsewhere(std::shared_ptr<Wanted> wanted) {
  auto hello = co_await wanted->from_elsewhere->receive();
  if (!hello || !hello->text || hello->bytes != wanted->attempt.str()) co_return;
  wanted->heard_elsewhere = true;
  wanted->came.notify();
}

Task<void> Shells::serve(AttemptId attempt, std::string shell, http::WebSocket& socket) {
  auto at = wanted_.find(shell);
  if (at != wanted_.end() && at->second->attempt == attempt && !at->second->viewer) {
    auto wires = make_local_wire(clock_);
    at->second->viewer = wires.one;
    at->second->came.notify();
    co_return co_await talk(socket, wires.other, false);
  }
  auto wire = make_cache_wire(cache_, clock_, shell, WireEnd::runner);
  if (co_await wire->send({.text = true, .bytes = attempt.str()})) co_await talk(socket, wire, false);
}

/// Between a socket and the wire, until one of them is gone.
Task<void> Shells::talk(http::WebSocket& socket, std::shared_ptr<ShellWire> wire, bool from_viewer) {
  bool said_exit = false;
  Scope moving(loop_);
  moving.spawn(wire->run());
  {
    Scope both(loop_);
    both.spawn(bring_down(socket, *wire, from_viewer, both));
    both.spawn(bring_up(socket, *wire, from_viewer, said_exit, both));
    std::exception_ptr broken_off;
    try {
      co_await both.join();
    } catch (...) {
      broken_off = std::current_exception();
    }
    if (broken_off) {
      moving.cancel();
      co_await moving.join();
      std::rethrow_exception(broken_off);
    }
  }
  if (from_viewer && !said_exit && !socket.closed()) co_await say_exit(socket, "the job's runner is gone");
  co_await wire->close();
  moving.cancel();
  co_await moving.join();
}

/// From the wire to the socket.
Task<void> Shells::bring_up(http::WebSocket& socket, ShellWire& wire, bool to_viewer, bool& said_exit, Scope& both) {
  EndsBoth ends{both};
  for (;;) {
    auto frame = co_await wire.receive();
    if (!frame) co_return;
    if (to_viewer && frame->text) {
      auto word = shell_word_from(*frame);
      said_exit = word && std::holds_alternative<ShellExit>(*word);
    }
    auto sent = co_await socket.send(message_of(*std::move(frame)));
    if (!sent || said_exit) co_return;
  }
}

/// From the socket to the wire.
Task<void> Shells::bring_down(http::WebSocket& socket, ShellWire& wire, bool from_viewer, Scope& both) {
  EndsBoth ends{both};
  for (;;) {
    auto message = co_await socket.receive();
    if (!message) co_return;
    auto frame = frame_of(*std::move(message));
    auto word = shell_word_from(frame);
    if (!word) co_return socket.close_with(refusal(word.error()));
    if (!may_say(*word, from_viewer)) co_return socket.close_with(refusal({Errc::invalid, "this message goes the other way, or came twice", {}}));
    if (!co_await wire.send(std::move(frame))) co_return;
  }
}

Task<Result<void>> Shells::ended(AttemptKey attempt, std::string shell, ShellReport report) {
  CO_TRY_ASSIGN(auto shells, co_await of_build(attempt.build));
  auto at = std::ranges::find(shells, shell, &ShellRecord::id);
  if (at == shells.end() || at->job != attempt.job) co_return fail(Errc::not_found, "the attempt has no shell " + shell);
  if (at->closed_at) co_return Result<void>{};
  co_return co_await builds_.change(attempt.build, NoteShell{attempt.job, {.shell = shell, .who = at->who, .attempt = at->attempt, .opened = false,
                                                                           .open_for = std::chrono::milliseconds(report.open_ms), .exit_code = report.exit_code,
                                                                           .detail = std::move(report.detail)}});
}

Task<Result<void>> Shells::release(JobId job, std::string who) {
  CO_TRY_ASSIGN(auto build, co_await build_of_job(db_, job));
  CO_TRY(co_await builds_.change(build, ReleaseJob{job, std::move(who)}));
  CO_TRY_ASSIGN(auto record, co_await builds_.get(build));
  if (auto* state = find_job(record->state, job)) (void)co_await cache_.publish(shells_channel, "look " + state->attempt_id.str());
  co_return Result<void>{};
}

Task<Result<std::vector<ShellRecord>>> Shells::of_build(BuildId build) {
  CO_TRY_ASSIGN(auto found, co_await db_.query(statement(select_shells, build, max_shown_shells)));
  std::vector<ShellRecord> out;
  for (auto& row : found.rows) {
    auto body = parse_json(text_at(row, 1));
    if (!body) continue;
    auto id = find_string(*body, "shell").value_or("");
    if (find_string(*body, "what") == "opened") {
      ShellRecord shell{.id = id, .who = find_string(*body, "who").value_or(""), .attempt = int(find_int(*body, "attempt").value_or(0)), .opened_at = time_at(row, 0)};
      if (auto job = JobId::parse(find_string(*body, "job").value_or(""))) shell.job = *job;
      out.push_back(std::move(shell));
      continue;
    }
    auto at = std::ranges::find(out, id, &ShellRecord::id);
    if (at == out.end()) continue;
    at->closed_at = time_at(row, 0);
    if (auto* seconds = mayfly::find(*body, "seconds"); seconds && seconds->is_number()) at->seconds = seconds->to_number<double>();
    if (auto code = find_int(*body, "exit_code")) at->exit_code = int(*code);
    at->detail = find_string(*body, "detail").value_or("");
  }
  co_return out;
}

Task<Result<std::vector<ShellRecord>>> Shells::of_job(JobId job) {
  CO_TRY_ASSIGN(auto build, co_await build_of_job(db_, job));
  CO_TRY_ASSIGN(auto all, co_await of_build(build));
  std::erase_if(all, [&](auto& shell) { return shell.job != job; });
  co_return all;
}

}  // namespace mayfly
