#pragma once
// HTTP/1.1's framing, request and response: Boost.Beast's parser, driven by hand so that whoever owns the connection owns its
// buffer, its limits and its waits. Internal to net. Stricter than Beast where leniency lets two parsers disagree.

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "net/http.h"

namespace mayfly::http {

struct MessageHead {
  std::string method;  // of a request
  std::string target;
  int status = 0;      // of a response
  int version = 11;    // 10 or 11
  Headers headers;     // trailers are checked and dropped
};

class MessageParser final {
 public:
  enum class Kind { request, response };
  MessageParser(Kind kind, std::size_t max_head_bytes);
  ~MessageParser();
  MessageParser(MessageParser&&) noexcept;

  /// Makes ready for the next message. `without_body`: the answer to a HEAD.
  void start(bool without_body = false);

  /// Reads on towards the end of the head and returns how many bytes are done with; the others must be given again, with
  /// more. Errc::invalid: not HTTP; Errc::too_large: the head; Errc::unsupported: a transfer coding.
  Result<std::size_t> feed_head(std::string_view bytes);
  bool has_head() const;
  MessageHead& head();

  struct Progress {
    std::size_t consumed = 0;
    std::size_t produced = 0;
  };
  /// Takes the body out of its framing into `into`. With nothing consumed more bytes are needed. Errc::invalid.
  Result<Progress> feed_body(std::string_view bytes, std::span<char> into);

  /// The peer ended its side. Errc::invalid if the message needed more.
  Result<void> feed_end();

  bool done() const;
  bool started() const;                                    // some byte of the message was fed
  bool keep_alive() const;                                 // what the sender wants
  std::optional<std::uint64_t> content_length() const;     // nothing when chunked or until the end

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace mayfly::http
