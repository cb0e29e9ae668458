#pragma once
// HTTP messages as Mayfly's own values, so that handlers and callers compile without the library that moves the bytes
// (see stream.h and parser.h).

#include <any>
#include <charconv>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "async/task.h"
#include "base/result.h"
#include "net/url.h"

namespace mayfly::http {

/// Names compare without case; order and repetitions are kept.
struct Headers {
  std::vector<std::pair<std::string, std::string>> fields;

  std::optional<std::string_view> get(std::string_view name) const;  // the first of that name
  bool has(std::string_view name) const { return get(name).has_value(); }
  void add(std::string_view name, std::string_view value);
  void set(std::string_view name, std::string_view value);  // instead of all of that name
  void remove(std::string_view name);
  std::size_t count(std::string_view name) const;

  bool operator==(const Headers&) const = default;
};

bool equal_ignoring_case(std::string_view a, std::string_view b);

/// True if the comma-separated list holds the token, compared without case ("keep-alive, Upgrade").
bool has_token(std::string_view list, std::string_view token);

/// Reads text from the outside as a string, an integer or a strong id. Errc::invalid names `what`.
template <class T>
Result<T> parse_text(std::string_view text, std::string_view what) {
  if constexpr (std::is_same_v<T, std::string>) {
    return std::string(text);
  } else if constexpr (std::is_integral_v<T>) {
    T value{};
    auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (ec != std::errc{} || end != text.data() + text.size())
      return fail(Errc::invalid, std::string(what) + ": not an integer in range: '" + std::string(text.substr(0, 40)) + "'");
    return value;
  } else {
    auto value = T::parse(text);
    if (!value) return fail(value.error().code, std::string(what) + ": " + value.error().message, value.error().hint);
    return value;
  }
}

struct Request {
  std::string method = {};  // as sent: "GET"
  std::string target = {};  // as sent: "/builds/a%2Fb?limit=3"
  std::string path = {};    // decoded, without the query
  Query query = {};
  Headers headers = {};
  std::string body = {};    // empty for routes that stream it
  std::string peer = {};    // "127.0.0.1:5123", "[::1]:5123" or "unix"
  std::vector<std::pair<std::string, std::string>> params = {};  // of the route's pattern, decoded
  std::any context = {};    // for middleware to hand on what it found out, such as who asks

  /// The value the route's pattern caught. Errc::invalid if it is not a T, or there is no such parameter.
  template <class T = std::string>
  Result<T> param(std::string_view name) const {
    for (auto& [key, value] : params)
      if (key == name) return parse_text<T>(value, name);
    return fail(Errc::invalid, std::string(name) + ": missing");
  }

  /// Nothing when the query does not name it. Errc::invalid if it is not a T.
  template <class T = std::string>
  Result<std::optional<T>> query_param(std::string_view name) const {
    auto text = query.get(name);
    if (!text) return std::optional<T>{};
    TRY_ASSIGN(auto value, parse_text<T>(*text, name));
    return std::optional<T>(std::move(value));
  }
};

/// A request's body as it arrives.
class BodyReader {
 public:
  virtual ~BodyReader() = default;
  /// Fills the front of `into`; 0 is the end. Errc::too_large past the route's limit, Errc::timeout when the sender
  /// stalls, Errc::invalid for broken framing, Errc::unavailable when the sender is gone.
  virtual Task<Result<std::size_t>> read(std::span<char> into) = 0;
  virtual bool at_end() const = 0;                          // nothing is left, or there was no body
  virtual std::optional<std::uint64_t> length() const = 0;  // of the whole body, where the sender said so
};

/// The whole of it. Errors as read().
Task<Result<std::string>> read_all(BodyReader& body);

/// A body on its way out.
class BodyWriter {
 public:
  virtual ~BodyWriter() = default;
  /// Returns when the bytes are handed to the system, so a slow peer slows the caller. Errc::unavailable when the peer
  /// is gone or took too long. One write at a time.
  virtual Task<Result<void>> write(std::string_view bytes) = 0;
};

/// Called once, after the head was sent. `length` makes a Content-Length: fewer bytes than that break the connection,
/// more are refused; without it the body is chunked. An `endless` body (SSE) is canceled when the server stops; others
/// may finish within the drain's deadline.
struct StreamBody {
  std::function<Task<void>(BodyWriter&)> write = {};
  std::optional<std::uint64_t> length = {};
  bool endless = false;
};

struct Upgrade;  // websocket.h

/// Framing headers (Content-Length, Transfer-Encoding, Connection, Date) are the server's.
struct Response {
  int status = 200;
  Headers headers = {};
  std::variant<std::string, StreamBody, std::shared_ptr<const Upgrade>> body = {};
};

std::string_view reason_phrase(int status);

Response text_response(int status, std::string body, std::string_view content_type = "text/plain; charset=utf-8");
Response json_response(int status, std::string json);
Response stream_response(int status, std::string_view content_type, StreamBody body);
Response empty_response(int status = 204);
Response redirect(int status, std::string_view location);

/// application/problem+json (RFC 9457): title, status, detail, hint, code; empty ones are left out.
Response problem(int status, std::string_view title, std::string_view detail = {}, std::string_view hint = {},
                 std::string_view code = {});

/// The status that stands for an error: invalid 400, unauthenticated 401, forbidden 403, not_found 404, conflict and
/// fenced 409, too_large 413, unsupported 422, rate_limited 429, unavailable and canceled 503, timeout 504, else 500.
int status_of(Errc);

/// problem() of an error. The detail of `internal` and `corrupt` is for the log, not for the caller.
Response problem(const Error&);

/// The error behind an answer: of a problem+json its code, detail and hint, else what the status stands for.
Error error_of(int status, const Headers& headers, std::string_view body);

}  // namespace mayfly::http
