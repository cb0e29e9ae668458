#include "net/sse.h"

#include <algorithm>
#include <array>
#include <boost/asio/this_coro.hpp>
#include <boost/system/system_error.hpp>
#include <charconv>

#include "async/scope.h"
#include "async/signal.h"
#include "async/system_timer.h"

namespace mayfly::http {
namespace {

std::string one_line(std::string_view text) {
  std::string out(text);
  std::erase_if(out, [](char c) { return c == '\r' || c == '\n' || c == '\0'; });
  return out;
}

/// LF, CRLF and CR end a line alike; each line becomes a field of its own.
void append_data(std::string& out, std::string_view data) {
  while (true) {
    auto end = std::min(data.find_first_of("\r\n"), data.size());
    out.append("data: ").append(data.substr(0, end)).append("\n");
    if (end == data.size()) return;
    data.remove_prefix(data.substr(end).starts_with("\r\n") ? end + 2 : end + 1);
  }
}

Time now() { return std::chrono::time_point_cast<Duration>(std::chrono::system_clock::now()); }

/// Events and heartbeats take turns on one body.
class Viewer final : public SseWriter {
 public:
  Viewer(BodyWriter& out, Loop loop, std::chrono::milliseconds heartbeat)
      : out_(out), timers_(make_system_timers(std::move(loop))), heartbeat_(heartbeat) {}

  Task<Result<void>> send(SseEvent event) override { return write(format_sse(event)); }

  Task<Result<void>> send_retry(std::chrono::milliseconds delay) override {
    return write("retry: " + std::to_string(delay.count()) + "\n\n");
  }

  /// Returns when a heartbeat cannot be sent.
  Task<void> beat() {
    auto timer = timers_->make_timer();
    while (true) {
      auto due = last_write_ + heartbeat_;
      if (now() < due) {
        co_await timer->wait_until(due);
        continue;
      }
      if (!co_await write(":\n\n")) co_return;
    }
  }

 private:
  Task<Result<void>> write(std::string bytes) {
    while (writing_) co_await free_.wait(*timers_);
    writing_ = true;
    auto written = co_await out_.write(bytes);
    writing_ = false;
    last_write_ = now();
    free_.notify();
    co_return written;
  }

  BodyWriter& out_;
  std::unique_ptr<TimerSource> timers_;
  std::chrono::milliseconds heartbeat_;
  Time last_write_ = now();
  bool writing_ = false;
  Signal free_;
};

/// Ends `all` when it ends itself, whichever way.
Task<void> ends_all(Task<void> part, Scope& all, std::exception_ptr& thrown) {
  try {
    co_await std::move(part);
  } catch (const boost::system::system_error& e) {
    if (e.code() != boost::system::errc::operation_canceled) thrown = std::current_exception();
  } catch (...) {
    thrown = std::current_exception();
  }
  all.cancel();
}

Task<void> run(const SseBody& body, BodyWriter& out, std::chrono::milliseconds heartbeat) {
  auto loop = co_await boost::asio::this_coro::executor;
  Viewer viewer(out, loop, heartbeat);
  Scope parts(loop);
  std::exception_ptr thrown;
  auto events = body(viewer);
  parts.spawn(ends_all(viewer.beat(), parts, thrown));
  parts.spawn(ends_all(std::move(events), parts, thrown));
  co_await parts.join();
  if (thrown) std::rethrow_exception(thrown);
}

}  // namespace

std::string format_sse(const SseEvent& event) {
  std::string out;
  out.reserve(event.data.size() + 64);
  if (!event.id.empty()) out.append("id: ").append(one_line(event.id)).append("\n");
  if (!event.event.empty()) out.append("event: ").append(one_line(event.event)).append("\n");
  append_data(out, event.data);
  return out + "\n";
}

Response sse_response(SseBody body, std::chrono::milliseconds heartbeat) {
  auto write = [body = std::move(body), heartbeat](BodyWriter& out) { return run(body, out, heartbeat); };
  auto response = stream_response(200, "text/event-stream", {.write = std::move(write), .endless = true});
  response.headers.add("Cache-Control", "no-store");
  response.headers.add("X-Accel-Buffering", "no");
  return response;
}

std::optional<std::string> last_event_id(const Request& request) {
  auto id = request.headers.get("Last-Event-ID");
  if (!id) id = request.query.get("last_event_id");
  return id ? std::optional<std::string>(*id) : std::nullopt;
}

bool wants_sse(const Request& request) {
  auto accept = request.headers.get("Accept").value_or("");
  while (!accept.empty()) {
    auto end = std::min(accept.find(','), accept.size());
    auto range = accept.substr(0, end);
    if (has_token(range.substr(0, range.find(';')), "text/event-stream")) return true;
    accept.remove_prefix(std::min(end + 1, accept.size()));
  }
  return false;
}

Result<std::vector<SseEvent>> SseParser::feed(std::string_view bytes) {
  std::vector<SseEvent> out;
  while (!bytes.empty()) {
    if (std::exchange(after_cr_, false) && bytes.front() == '\n') bytes.remove_prefix(1);
    auto end = bytes.find_first_of("\r\n");
    line_ += bytes.substr(0, end);
    if (line_.size() + event_.data.size() > kMaxSseEventBytes)
      return fail(Errc::too_large, "an event is larger than " + std::to_string(kMaxSseEventBytes) + " bytes");
    if (end == bytes.npos) break;
    after_cr_ = bytes[end] == '\r';
    bytes.remove_prefix(end + 1);
    end_line(out);
    line_.clear();
  }
  return out;
}

void SseParser::end_line(std::vector<SseEvent>& out) {
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
  std::string_view line = line_;
  if (std::exchange(at_start_, false) && line.starts_with(kByteOrderMark)) line.remove_prefix(kByteOrderMark.size());
  if (line.empty()) return dispatch(out);
  auto colon = std::min(line.find(':'), line.size());
  auto name = line.substr(0, colon), value = line.substr(std::min(colon + 1, line.size()));
  if (value.starts_with(' ')) value.remove_prefix(1);
  if (name == "data") {
    if (std::exchange(has_data_, true)) event_.data += '\n';
    event_.data += value;
  } else if (name == "event") {
    event_.event = value;
  } else if (name == "id" && !value.contains('\0')) {
    id_ = value;
  } else if (name == "retry" && !value.empty() && std::ranges::all_of(value, [](char c) { return c >= '0' && c <= '9'; })) {
    std::int64_t milliseconds = 0;
    if (std::from_chars(value.data(), value.data() + value.size(), milliseconds).ec == std::errc{})
      retry_ = std::chrono::milliseconds(milliseconds);
  }
}

/// An id counts for resuming once its event is whole, even when that has no data.
void SseParser::dispatch(std::vector<SseEvent>& out) {
  last_id_ = id_;
  if (std::exchange(has_data_, false)) {
    event_.id = last_id_;
    out.push_back(std::move(event_));
  }
  event_ = {};
}

}  // namespace mayfly::http
