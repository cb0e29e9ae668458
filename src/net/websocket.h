#pragma once
// WebSockets (RFC 6455), both ends: for what has to travel both ways at once, such as a shell. Pings, pongs, the closing
// handshake and its timeouts are net's; whoever uses a socket sees messages. Boost.Beast stays in websocket.cpp.

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "net/http.h"

namespace mayfly::http {

struct WebSocketMessage {
  bool text = false;  // then it is UTF-8
  std::string bytes = {};

  bool operator==(const WebSocketMessage&) const = default;
};

/// RFC 6455 §7.4.1; 4000 to 4999 are the application's.
enum class CloseCode : std::uint16_t { normal = 1000, going_away = 1001, protocol_error = 1002, policy = 1008, too_large = 1009, internal_error = 1011 };

struct WebSocketClose {
  std::uint16_t code = static_cast<std::uint16_t>(CloseCode::normal);
  std::string reason = {};  // at most kMaxCloseReasonBytes are sent

  bool operator==(const WebSocketClose&) const = default;
};

inline constexpr std::size_t kMaxCloseReasonBytes = 123;

struct WebSocketOptions {
  std::size_t max_message_bytes = 256 * 1024;         // received; a longer one ends the connection with 1009
  std::size_t max_queued_bytes = 256 * 1024;          // each way, beyond one message: then send() waits, or the peer does
  std::chrono::milliseconds handshake_timeout{10'000};
  std::chrono::milliseconds idle_timeout{30'000};     // nothing came, not even an answer to the ping sent at half of it
  std::chrono::milliseconds close_timeout{5'000};     // for what is queued, and the peer's goodbye
};

/// All calls may be canceled without harm to the connection: a message is then either sent or received as a whole, or not.
class WebSocket {
 public:
  virtual ~WebSocket() = default;
  /// One receive at a time; receive often, or the connection counts as idle. Errc::unavailable: it has ended (see closed()).
  /// Errc::timeout: the peer fell silent. Errc::too_large: max_message_bytes. Errc::invalid: what came is no WebSocket message.
  virtual Task<Result<WebSocketMessage>> receive() = 0;
  /// Returns once there is room for it in the queue. Any number at a time. Errors as receive().
  virtual Task<Result<void>> send(WebSocketMessage message) = 0;
  /// What the goodbye will say, once the function that uses the socket has returned.
  virtual void close_with(WebSocketClose close) = 0;
  /// The peer's goodbye, once it has come.
  virtual std::optional<WebSocketClose> closed() const = 0;
};

/// The connection lasts until it returns.
using WebSocketUse = std::function<Task<void>(WebSocket&)>;

/// Why a 101 was answered.
struct Upgrade {
  Request request;
  WebSocketOptions options;
  WebSocketUse use;
};

/// The answer that makes a GET's connection a WebSocket and runs `use` on it: canceled when the server stops, and when the
/// peer is gone its next receive() or send() says so. 426 for a request that asks for no WebSocket.
Response websocket_response(Request request, WebSocketUse use, WebSocketOptions options = {});

}  // namespace mayfly::http
