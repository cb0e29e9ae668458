#pragma once
// Server-Sent Events, both ends (WHATWG HTML §9.2): what live logs and build events travel on. A reader that lost its
// connection resumes from the last id it saw.

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "net/http.h"

namespace mayfly::http {

inline constexpr std::chrono::milliseconds kSseHeartbeat{15'000};
inline constexpr std::size_t kMaxSseEventBytes = 2 * 1024 * 1024;

struct SseEvent {
  std::string id = {};     // empty: none
  std::string event = {};  // empty: "message"
  std::string data = {};   // may have several lines; CR and CRLF arrive as LF

  bool operator==(const SseEvent&) const = default;
};

/// The event's wire form, ending in an empty line. Line breaks in id and event are dropped.
std::string format_sse(const SseEvent& event);

/// One viewer's stream.
class SseWriter {
 public:
  virtual ~SseWriter() = default;
  /// Errc::unavailable when the viewer is gone.
  virtual Task<Result<void>> send(SseEvent event) = 0;
  /// How long the viewer should wait before it comes back.
  virtual Task<Result<void>> send_retry(std::chrono::milliseconds delay) = 0;
};

using SseBody = std::function<Task<void>(SseWriter&)>;

/// A text/event-stream answer that runs `body` until it returns. A comment goes out after each `heartbeat` of silence; when
/// it cannot be sent, or the server stops, `body` is canceled, whatever it waits for.
Response sse_response(SseBody body, std::chrono::milliseconds heartbeat = kSseHeartbeat);

/// Where a viewer wants to resume: the Last-Event-ID header, else `last_event_id` of the query (a page's first connect
/// cannot set headers). Nothing if neither is there.
std::optional<std::string> last_event_id(const Request& request);

/// True if the Accept header asks for text/event-stream.
bool wants_sse(const Request& request);

/// Reads a stream in any split.
class SseParser final {
 public:
  /// The events these bytes complete. Errc::too_large when one event passes kMaxSseEventBytes.
  Result<std::vector<SseEvent>> feed(std::string_view bytes);

  /// What to send as Last-Event-ID when reconnecting; empty before the first id.
  const std::string& last_id() const { return last_id_; }
  std::optional<std::chrono::milliseconds> retry() const { return retry_; }

 private:
  void end_line(std::vector<SseEvent>& out);
  void dispatch(std::vector<SseEvent>& out);

  std::string line_;
  SseEvent event_;
  bool has_data_ = false;
  bool after_cr_ = false;
  bool at_start_ = true;
  std::string id_;       // of the event being read
  std::string last_id_;  // of the last one completed
  std::optional<std::chrono::milliseconds> retry_;
};

}  // namespace mayfly::http
