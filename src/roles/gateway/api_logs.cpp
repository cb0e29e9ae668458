#include <algorithm>
#include <charconv>

#include "net/range.h"
#include "net/sse.h"
#include "roles/gateway/build_log.h"
#include "roles/gateway/gateway.h"
#include "roles/logs/log_lines.h"

namespace mayfly {
namespace {

constexpr std::int64_t default_lines = 100;
constexpr std::size_t read_bytes = 256 << 10;
constexpr Duration first_look = std::chrono::seconds(1);   // for what nobody tells: a canceled attempt, a lost message …
constexpr Duration last_look = std::chrono::seconds(5);    // … ever later while nothing happens

/// Which log is asked for: a build's, or one attempt's of a job.
struct LogSource {
  BuildId build;
  std::optional<AttemptRow> attempt;
};

Task<Result<LogOutline>> outline_of(GatewayParts& parts, LogSource source, Outline kind) {
  CO_TRY_ASSIGN(auto attempts, co_await attempts_of_build(parts.db, parts.clock, source.build));
  if (source.attempt) {
    auto at = std::ranges::find(attempts, source.attempt->id, &AttemptRow::id);
    if (at == attempts.end()) co_return fail(Errc::not_found, "the attempt is gone");
    co_return co_await attempt_log_outline(*at, parts.logs);
  }
  CO_TRY_ASSIGN(auto record, co_await parts.builds.get(source.build));
  co_return co_await build_log_outline(attempts, parts.logs, record->state, kind);
}

/// One event a piece: the concatenation of all `data` is the log, byte for byte. A piece that an event cannot carry (bare
/// carriage returns, NUL) goes as event "base64".
http::SseEvent log_event(std::string text, std::int64_t end) {
  if (text.find_first_of(std::string_view("\r\0", 2)) == text.npos) return {std::to_string(end), "", std::move(text)};
  return {std::to_string(end), "base64", to_base64(text)};
}

/// One viewer of a log.
class Follower final {
 public:
  Follower(GatewayParts& parts, LogSource source, std::int64_t from, http::SseWriter& out)
      : parts_(parts), source_(std::move(source)), at_(from), out_(out) {}

  /// Until the log has ended or the viewer is gone.
  Task<void> run() {
    for (auto patience = first_look;;) {
      auto outline = co_await outline_of(parts_, source_, Outline::in_order);
      if (!outline) co_return;
      auto began = at_;
      do {
        if (!co_await send_what_is_there(*outline)) co_return;
        if (outline->final && at_ >= outline->size()) {
          (void)co_await out_.send({"", "end", "{}"});
          co_return;
        }
      } while (co_await last_part_grows(*outline, clock().now() + patience));
      // It is over, or something else has begun, or nothing has happened for a while: then the next look is later.
      patience = at_ > began ? first_look : std::min<Duration>(2 * patience, last_look);
    }
  }

 private:
  Clock& clock() { return parts_.clock; }

  Task<bool> send_what_is_there(const LogOutline& outline) {
    for (;;) {
      auto text = co_await read_log(parts_.logs, outline, at_, read_bytes);
      if (!text) co_return false;
      if (text->empty()) co_return true;
      at_ += std::int64_t(text->size());
      if (!co_await out_.send(log_event(std::move(*text), at_))) co_return false;
    }
  }

  /// Only what has changed is asked for: while an attempt speaks, nothing else of the outline can.
  Task<bool> last_part_grows(LogOutline& outline, Time until) {
    if (outline.parts.empty() || outline.parts.back().final) {
      co_await build_moves(until);
      co_return false;
    }
    auto& last = outline.parts.back();
    if (!co_await parts_.logs.wait_beyond(last.attempt, last.bytes, until)) co_return false;
    auto size = co_await parts_.logs.size(last.attempt, false);
    if (!size || *size <= last.bytes) co_return false;
    last.bytes = *size;
    co_return true;
  }

  /// Between two jobs there is no log to wait for.
  Task<void> build_moves(Time until) {
    if (moves_) {
      (void)co_await moves_->next(until);
    } else {
      moves_ = parts_.cache.subscribe(build_channel(source_.build));
    }
  }

  GatewayParts& parts_;
  LogSource source_;
  std::int64_t at_;
  http::SseWriter& out_;
  std::unique_ptr<CacheSubscription> moves_;   // once it is needed; the first look after that sees what was before
};

Task<void> follow(GatewayParts& parts, LogSource source, std::int64_t from, http::SseWriter& out) {
  Follower follower(parts, std::move(source), from, out);
  co_await follower.run();
}

Task<http::Response> send_log(GatewayParts& parts, LogSource source, const http::Request& request, std::int64_t from) {
  auto outline = co_await outline_of(parts, source, Outline::now);
  if (!outline) co_return http::problem(outline.error());
  auto size = outline->size();
  auto range = http::parse_range(request.headers.get("Range"), std::uint64_t(size));
  if (range.kind == http::RangeKind::unsatisfiable || from > size) {
    auto refusal = http::problem(416, "Range Not Satisfiable", "the log has " + std::to_string(size) + " bytes so far");
    refusal.headers.set("Content-Range", http::unsatisfied_content_range(std::uint64_t(size)));
    co_return refusal;
  }
  bool partial = range.kind == http::RangeKind::satisfiable;
  auto first = partial ? std::int64_t(range.first) : from;
  auto last = partial ? std::int64_t(range.last) + 1 : size;
  http::StreamBody body;
  body.length = std::uint64_t(last - first);
  body.write = [&parts, outline = std::move(*outline), first, last](http::BodyWriter& out) -> Task<void> {
    for (auto at = first; at < last;) {
      auto text = co_await read_log(parts.logs, outline, at, std::size_t(std::min<std::int64_t>(last - at, std::int64_t(read_bytes))));
      if (!text || text->empty()) co_return;
      at += std::int64_t(text->size());
      if (auto sent = co_await out.write(*text); !sent) co_return;
    }
  };
  auto response = http::stream_response(partial ? 206 : 200, "text/plain; charset=utf-8", std::move(body));
  if (partial) response.headers.set("Content-Range", http::content_range(range, std::uint64_t(size)));
  response.headers.set("Accept-Ranges", "bytes");
  response.headers.set("X-Content-Type-Options", "nosniff");
  co_return response;
}

/// `line` counts from 1.
Task<http::Response> send_lines(GatewayParts& parts, AttemptId attempt, std::int64_t line, std::int64_t lines) {
  if (line < 1 || lines < 1 || lines > max_lines_at_once)
    co_return http::problem(Error{Errc::invalid, "line: from 1 on; lines: 1 to " + std::to_string(max_lines_at_once), ""});
  co_return answer(co_await read_lines(parts.logs, attempt, line - 1, lines), [](std::string text) {
    auto response = http::text_response(200, std::move(text));
    response.headers.set("X-Content-Type-Options", "nosniff");
    return response;
  });
}

Task<http::Response> log_response(GatewayParts& parts, LogSource source, http::Request request) {
  auto from = request.query_param<std::int64_t>("from");
  if (!from) co_return http::problem(from.error());
  auto start = from->value_or(0);
  if (start < 0) co_return http::problem(Error{Errc::invalid, "from: negative", ""});
  if (!http::wants_sse(request)) co_return co_await send_log(parts, source, request, start);
  if (auto last = http::last_event_id(request)) {
    auto offset = http::parse_text<std::int64_t>(*last, "Last-Event-ID");
    if (!offset || *offset < 0) co_return http::problem(Error{Errc::invalid, "Last-Event-ID: not a byte offset", ""});
    start = *offset;
  }
  co_return http::sse_response([&parts, source, start](http::SseWriter& out) { return follow(parts, source, start, out); });
}

}  // namespace

void Gateway::add_logs(http::Router& router) {
  guarded(router, "GET", "/builds/{id}/logs", Action::read, [this](http::Request request) -> Task<http::Response> {
    auto id = request.param<BuildId>("id");
    if (!id) co_return http::problem(id.error());
    co_return co_await log_response(parts_, {*id, std::nullopt}, std::move(request));
  });

  guarded(router, "GET", "/jobs/{id}/logs", Action::read, [this](http::Request request) -> Task<http::Response> {
    auto id = request.param<JobId>("id");
    if (!id) co_return http::problem(id.error());
    auto number = request.query_param<int>("attempt");
    if (!number) co_return http::problem(number.error());
    auto build = co_await build_of_job(parts_.db, *id);
    if (!build) co_return http::problem(build.error());
    auto attempts = co_await attempts_of_build(parts_.db, parts_.clock, *build);
    if (!attempts) co_return http::problem(attempts.error());
    std::optional<AttemptRow> wanted;
    for (auto& attempt : *attempts)
      if (attempt.job == *id && (!*number || attempt.number == **number)) wanted = attempt;
    if (!wanted) {
      if (*number) co_return http::problem(Error{Errc::not_found, "the job has no attempt " + std::to_string(**number), ""});
      co_return http::problem(Error{Errc::not_found, "the job has not started, so it has no log", "wait for it: GET /builds/{id}/events"});
    }
    auto line = request.query_param<std::int64_t>("line");
    auto lines = request.query_param<std::int64_t>("lines");
    if (!line || !lines) co_return http::problem(line ? lines.error() : line.error());
    if (*line || *lines) co_return co_await send_lines(parts_, wanted->id, line->value_or(1), lines->value_or(default_lines));
    co_return co_await log_response(parts_, {*build, wanted}, std::move(request));
  });
}

}  // namespace mayfly
