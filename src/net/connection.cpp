#include "net/connection.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "async/scope.h"
#include "base/log.h"
#include "net/websocket_session.h"

namespace mayfly::http {
namespace {

constexpr std::size_t kBodyStepBytes = 16 * 1024;    // see ServerOptions::body_stall_timeout
constexpr std::size_t kWriteStepBytes = 64 * 1024;   // see ServerOptions::write_timeout
constexpr std::size_t kJoinedBodyBytes = 16 * 1024;  // a body up to this is copied behind its head
constexpr std::size_t kLingerBytes = 1024 * 1024;    // of an unwanted body, read so that the answer is not lost
constexpr std::chrono::milliseconds kLingerTime{2'000};

std::string_view raw_path(std::string_view target) { return target.substr(0, target.find('?')); }

/// "GET http://host/path" names the same thing as "GET /path".
Result<std::string> origin_form(std::string target) {
  if (target.starts_with('/') || target == "*") return target;
  TRY_ASSIGN(auto url, parse_url(target));
  return std::move(url.target);
}

Result<Request> make_request(MessageHead& head, std::string peer) {
  auto hosts = head.headers.count("Host");
  if (hosts > 1 || (hosts == 0 && head.version == 11)) return fail(Errc::invalid, "a request has exactly one Host header");
  Request request;
  request.method = std::move(head.method);
  TRY_ASSIGN(request.target, origin_form(std::move(head.target)));
  auto path = raw_path(request.target);
  TRY_ASSIGN(request.path, percent_decode(path));
  if (path.size() < request.target.size()) {
    TRY_ASSIGN(request.query, parse_query(std::string_view(request.target).substr(path.size() + 1)));
  }
  request.headers = std::move(head.headers);
  request.peer = std::move(peer);
  return request;
}

/// What cannot even be routed: a status of its own says that it is not the content that is too large or unsupported.
Response refusal(const Error& error, int status_when_too_large) {
  auto status = error.code == Errc::too_large ? status_when_too_large : error.code == Errc::unsupported ? 501 : status_of(error.code);
  return problem(status, reason_phrase(status), error.message, error.hint, to_string(error.code));
}

bool has_no_body(int status) { return status < 200 || status == 204 || status == 304; }

bool is_framing(std::string_view name) {
  constexpr std::array<std::string_view, 5> kNames{"Content-Length", "Transfer-Encoding", "Connection", "Date", "Keep-Alive"};
  return std::ranges::any_of(kNames, [&](auto framing) { return equal_ignoring_case(name, framing); });
}

/// A line break in a header would be a header of its own, and other control characters make the message malformed.
void append_line(std::string& out, std::string_view name, std::string_view value) {
  auto harmless = [](unsigned char c) { return static_cast<char>((c < 0x20 && c != '\t') || c == 0x7f ? ' ' : c); };
  std::ranges::transform(name, std::back_inserter(out), harmless);
  out += ": ";
  std::ranges::transform(value, std::back_inserter(out), harmless);
  out += "\r\n";
}

std::string head_of(const Response& response, std::string_view date) {
  std::string out;
  out.reserve(512);
  out.append("HTTP/1.1 ").append(std::to_string(response.status)).append(" ").append(reason_phrase(response.status));
  out.append("\r\nDate: ").append(date).append("\r\n");
  for (auto& [name, value] : response.headers.fields)
    if (!is_framing(name)) append_line(out, name, value);
  return out;
}

}  // namespace

struct Connection::Reply {
  bool head_only = false;
  bool http11 = true;
  bool keep_alive = true;
};

class Connection::Body final : public BodyReader {
 public:
  Body(Connection& connection, const RouteInfo& route, bool awaits_continue)
      : connection_(connection),
        limit_(route.options.max_body_bytes),
        step_(route.streams_body ? 1 : kBodyStepBytes),
        awaits_continue_(awaits_continue) {}

  bool at_end() const override { return connection_.parser_.done(); }
  std::optional<std::uint64_t> length() const override { return connection_.parser_.content_length(); }

  Task<Result<std::size_t>> read(std::span<char> into) override {
    if (into.empty() || (at_end() && !failure_)) co_return 0;
    if (!failure_ && length().value_or(0) > limit_) failure_ = too_large();
    if (failure_) co_return std::unexpected(*failure_);
    connection_.deadline_ = owed_at();
    auto n = co_await read_piece(into);
    connection_.expect_nothing();
    if (n) total_ += *n;
    if (n && total_ > limit_) failure_ = too_large();
    if (!n) failure_ = n.error();
    if (failure_) co_return std::unexpected(*failure_);
    co_return n;
  }

  /// True if nothing of the body is left to come, or what is left has arrived already and is dropped here.
  bool finish() {
    std::array<char, 4096> dropped;
    while (!at_end() && !failure_) {
      auto progress = connection_.parser_.feed_body(connection_.buffer_.pending(), dropped);
      if (!progress || progress->consumed == 0) return false;
      connection_.buffer_.consume(progress->consumed);
    }
    return !failure_;
  }

 private:
  Task<Result<std::size_t>> read_piece(std::span<char> into) {
    if (std::exchange(awaits_continue_, false)) {
      constexpr std::array<std::string_view, 1> kContinue{"HTTP/1.1 100 Continue\r\n\r\n"};
      CO_TRY(co_await connection_.stream_->write(kContinue));
    }
    while (true) {
      auto bytes = connection_.buffer_.pending();
      CO_TRY_ASSIGN(auto progress, connection_.parser_.feed_body(bytes, into));
      connection_.buffer_.consume(progress.consumed);
      if (progress.produced > 0 || at_end()) co_return progress.produced;
      if (bytes.size() - progress.consumed >= connection_.server_.options.max_header_bytes)
        co_return fail(Errc::invalid, "a chunk's header or the trailers are too long");
      CO_TRY_ASSIGN(auto n, co_await connection_.fill());
      if (n == 0) co_return fail(Errc::invalid, "the connection ended inside the body");
      note_arrival(n);
    }
  }

  Clock::time_point owed_at() {
    if (step_ == 1 || owed_at_ == Clock::time_point{}) renew();
    return owed_at_;
  }
  void note_arrival(std::size_t n) {
    arrived_ += n;
    if (arrived_ < step_) return;
    arrived_ = 0;
    renew();
    connection_.deadline_ = owed_at_;
  }
  void renew() { owed_at_ = Clock::now() + connection_.server_.options.body_stall_timeout; }

  Error too_large() const {
    return {Errc::too_large, "the body is larger than " + std::to_string(limit_) + " bytes", "Send less at once"};
  }

  Connection& connection_;
  std::uint64_t limit_;
  std::uint64_t total_ = 0;
  std::size_t step_;
  std::size_t arrived_ = 0;
  Clock::time_point owed_at_{};
  bool awaits_continue_;
  std::optional<Error> failure_;
};

class Connection::Writer final : public BodyWriter {
 public:
  Writer(Connection& connection, const StreamBody& body, bool chunked)
      : connection_(connection), left_(body.length), endless_(body.endless), chunked_(chunked) {}

  Task<Result<void>> write(std::string_view bytes) override {
    if (failed_ || (endless_ && connection_.server_.draining)) co_return fail(Errc::unavailable, "the reader is gone");
    if (left_ && bytes.size() > *left_) co_return fail(Errc::invalid, "the body has more bytes than were announced");
    failed_ = true;  // until this write is through: it may be canceled half-way
    while (!bytes.empty()) {
      auto step = bytes.substr(0, kWriteStepBytes);
      CO_TRY(co_await write_step(step));
      bytes.remove_prefix(step.size());
      if (left_) *left_ -= step.size();
    }
    failed_ = false;
    co_return Result<void>{};
  }

  /// True if the message was sent to its end.
  Task<bool> finish() {
    if (failed_ || left_.value_or(0) > 0) co_return false;
    if (!chunked_) co_return true;
    constexpr std::array<std::string_view, 1> kLastChunk{"0\r\n\r\n"};
    co_return (co_await connection_.write(kLastChunk)).has_value();
  }

 private:
  Task<Result<void>> write_step(std::string_view step) {
    if (!chunked_) {
      std::array<std::string_view, 1> pieces{step};
      co_return co_await connection_.write(pieces);
    }
    std::array<char, 16> head;
    auto end = std::to_chars(head.data(), head.data() + head.size() - 2, step.size(), 16).ptr;
    *end++ = '\r';
    *end++ = '\n';
    std::array<std::string_view, 3> pieces{std::string_view(head.data(), end), step, "\r\n"};
    co_return co_await connection_.write(pieces);
  }

  Connection& connection_;
  std::optional<std::uint64_t> left_;
  bool endless_;
  bool chunked_;
  bool failed_ = false;
};

Connection::Connection(const ServerState& server, std::unique_ptr<Stream> stream)
    : server_(server),
      stream_(std::move(stream)),
      parser_(MessageParser::Kind::request, server.options.max_header_bytes) {
  expect_nothing();
}

Connection::~Connection() = default;

void Connection::give_up() {
  gave_up_ = true;
  stream_->close();
}

void Connection::drain() {
  if (idle_) stream_->close();
  if (endless_) endless_->cancel();
}

Task<void> Connection::run() {
  expect_within(server_.options.header_timeout);
  if (!co_await stream_->handshake()) co_return;
  while (!server_.draining) {
    auto ready = co_await read_head();
    if (!ready) co_await refuse(ready.error(), 431);
    if (!ready || !*ready || !co_await serve_request()) co_return;
  }
}

Task<void> Connection::turn_away() {
  expect_within(server_.options.header_timeout);
  if (!co_await stream_->handshake()) co_return;
  auto response = problem(503, "Service Unavailable", "The server has all the connections it can take.", "Try again shortly.",
                          "unavailable");
  response.headers.add("Retry-After", "1");
  if (co_await send(std::move(response), {.keep_alive = false})) co_await linger();
}

/// False when the peer has ended the connection, or broke it.
Task<Result<bool>> Connection::read_head() {
  parser_.start();
  buffer_.shrink();
  idle_ = true;
  expect_within(server_.options.idle_timeout);
  while (true) {
    if (!buffer_.pending().empty()) {
      if (std::exchange(idle_, false)) expect_within(server_.options.header_timeout);
      CO_TRY_ASSIGN(auto consumed, parser_.feed_head(buffer_.pending()));
      buffer_.consume(consumed);
      if (parser_.has_head()) break;
    }
    auto n = co_await fill();
    if (!n || *n == 0) co_return false;
  }
  expect_nothing();
  co_return true;
}

Task<Result<std::size_t>> Connection::fill() {
  auto n = co_await buffer_.fill(*stream_);
  if (!n && gave_up_) co_return fail(Errc::timeout, stream_->peer() + ": the sender stalled");
  co_return n;
}

/// True if the connection can take another request.
Task<bool> Connection::serve_request() {
  auto& head = parser_.head();
  Reply reply{.head_only = head.method == "HEAD", .http11 = head.version == 11, .keep_alive = parser_.keep_alive()};
  auto request = make_request(head, stream_->peer());
  auto match = request ? server_.router.match(request->method, raw_path(request->target)) : std::unexpected(request.error());
  if (!match) {
    co_await refuse(match.error(), 414);
    co_return false;
  }
  auto expectation = request->headers.get("Expect").value_or("");
  bool awaits_continue = reply.http11 && equal_ignoring_case(expectation, "100-continue");
  Body body(*this, match->info(), awaits_continue);
  auto response = co_await call_handler(*match, *std::move(request), body);
  reply.keep_alive = body.finish() && reply.keep_alive && !server_.draining;
  if (auto* socket = std::get_if<std::shared_ptr<const Upgrade>>(&response.body)) {
    if (reply.keep_alive && reply.http11) {
      co_await upgrade(std::move(*socket));
      co_return false;
    }
    response = problem(server_.draining ? 503 : 400, "No WebSocket", "The connection cannot become a WebSocket now.", "Try again.", "unavailable");
  }
  if (!co_await send(std::move(response), reply)) co_return false;
  if (!reply.keep_alive) co_await linger();
  co_return reply.keep_alive;
}

Task<Response> Connection::call_handler(const Match& match, Request request, Body& body) {
  std::string what;
  try {
    co_return co_await server_.router.handle(match, std::move(request), body);
  } catch (const std::exception& e) {
    what = e.what();
  } catch (...) {
    what = "not a std::exception";
  }
  co_await throw_if_canceled();
  log_error("a handler threw", {{"route", match.info().method + " " + match.info().pattern}, {"what", what}});
  co_return problem(Error{Errc::internal, what, {}});
}

/// True if all of it was sent. An answer whose end only the connection's end can mark ends it.
Task<bool> Connection::send(Response response, Reply reply) {
  if (response.status < 200 || response.status > 999) response = problem(Error{Errc::internal, "no such status", {}});
  auto head = head_of(response, server_.date);
  auto text = std::get_if<std::string>(&response.body);
  auto stream = std::get_if<StreamBody>(&response.body);
  auto length = text ? std::optional<std::uint64_t>(text->size()) : stream->length;
  bool chunked = !length && reply.http11;
  if (!has_no_body(response.status)) {
    if (length) append_line(head, "Content-Length", std::to_string(*length));
    else if (chunked) append_line(head, "Transfer-Encoding", "chunked");
  }
  bool sends_body = !reply.head_only && !has_no_body(response.status);
  bool until_close = sends_body && !length && !chunked;
  if (!reply.keep_alive || until_close) append_line(head, "Connection", "close");
  else if (!reply.http11) append_line(head, "Connection", "keep-alive");
  head += "\r\n";
  if (!sends_body) co_return co_await send_text(std::move(head), "");
  if (text) co_return co_await send_text(std::move(head), *text);
  bool sent = co_await send_stream(std::move(head), *stream, chunked);
  co_return sent && !until_close;
}

Task<void> Connection::upgrade(std::shared_ptr<const Upgrade> upgrade) {
  std::string early(buffer_.pending());
  buffer_.consume(early.size());
  buffer_.release();
  expect_nothing();  // a WebSocket keeps time itself
  co_await serve_websocket(server_.loop, stream_, std::move(early), std::move(upgrade), endless_);
}

Task<bool> Connection::send_text(std::string head, std::string_view body) {
  if (body.size() <= kJoinedBodyBytes) {
    head += body;
    body = {};
  }
  std::string_view before = head;
  do {
    auto step = body.substr(0, kWriteStepBytes);
    std::array<std::string_view, 2> pieces{std::exchange(before, {}), step};
    if (!co_await write(pieces)) co_return false;
    body.remove_prefix(step.size());
  } while (!body.empty());
  co_return true;
}

Task<bool> Connection::send_stream(std::string head, const StreamBody& body, bool chunked) {
  if (!co_await send_text(std::move(head), "")) co_return false;
  Writer writer(*this, body, chunked);
  bool completed = body.endless;  // whatever ends it, it was whole
  if (body.endless) co_await run_endless(body, writer);
  else co_await run_body(body, writer, completed);
  co_return completed && co_await writer.finish();
}

/// `completed` stays false when the body threw: the peer then sees a message cut short instead of a shorter message.
Task<void> Connection::run_body(const StreamBody& body, Writer& writer, bool& completed) {
  std::string what;
  try {
    co_await body.write(writer);
    completed = true;
    co_return;
  } catch (const std::exception& e) {
    what = e.what();
  }
  co_await throw_if_canceled();
  log_error("a response's body threw", {{"what", what}});
}

Task<void> Connection::run_endless(const StreamBody& body, Writer& writer) {
  if (server_.draining) co_return;
  buffer_.release();
  Scope scope(server_.loop);
  struct Guard {
    Scope*& slot;
    ~Guard() { slot = nullptr; }
  } guard{endless_};
  endless_ = &scope;
  bool completed = false;
  scope.spawn(run_body(body, writer, completed));
  co_await scope.join();
}

Task<Result<void>> Connection::write(std::span<const std::string_view> pieces) {
  expect_within(server_.options.write_timeout);
  auto written = co_await stream_->write(pieces);
  expect_nothing();
  co_return written;
}

Task<void> Connection::refuse(const Error& error, int status_when_too_large) {
  if (co_await send(refusal(error, status_when_too_large), {.keep_alive = false})) co_await linger();
}

/// Closing with unread bytes would reset the connection, and the peer might never see the answer: end our side, and read
/// the peer's for a while.
Task<void> Connection::linger() {
  stream_->end_writing();
  expect_within(kLingerTime);
  for (std::size_t dropped = 0; dropped < kLingerBytes;) {
    buffer_.consume(buffer_.pending().size());
    auto n = co_await buffer_.fill(*stream_);
    if (!n || *n == 0) break;
    dropped += *n;
  }
}

}  // namespace mayfly::http
