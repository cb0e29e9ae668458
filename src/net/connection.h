#pragma once
// The server's side of one connection: requests in, answers out, until one side has had enough. Internal to net; the fuzzer
// drives it over a stream of its own.

#include <chrono>
#include <memory>
#include <string>

#include "net/parser.h"
#include "net/receive_buffer.h"
#include "net/router.h"
#include "net/server.h"
#include "net/stream.h"

namespace mayfly {
class Scope;
}

namespace mayfly::http {

/// What all connections of a server look at.
struct ServerState {
  Loop loop;
  const Router& router;
  const ServerOptions& options;
  std::string date;       // the Date header's value, at most a second old
  bool draining = false;
};

class Connection final {
 public:
  using Clock = std::chrono::steady_clock;

  Connection(const ServerState& server, std::unique_ptr<Stream> stream);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  /// Serves until the peer or the server ends it.
  Task<void> run();

  /// Answers 503 and ends: for connections there is no room for.
  Task<void> turn_away();

  bool is_overdue(Clock::time_point now) const { return now > deadline_; }
  bool is_idle() const { return idle_; }
  Clock::time_point deadline() const { return deadline_; }

  /// Breaks it off because it is overdue.
  void give_up();

  /// The server stops: an idle connection closes, an endless body ends, anything else finishes and closes.
  void drain();

 private:
  class Body;
  class Writer;
  struct Reply;

  Task<Result<bool>> read_head();
  Task<Result<std::size_t>> fill();
  Task<bool> serve_request();
  Task<Response> call_handler(const Match& match, Request request, Body& body);
  Task<bool> send(Response response, Reply reply);
  Task<void> upgrade(std::shared_ptr<const Upgrade> upgrade);
  Task<bool> send_text(std::string head, std::string_view body);
  Task<bool> send_stream(std::string head, const StreamBody& body, bool chunked);
  Task<void> run_body(const StreamBody& body, Writer& writer, bool& completed);
  Task<void> run_endless(const StreamBody& body, Writer& writer);
  Task<Result<void>> write(std::span<const std::string_view> pieces);
  Task<void> refuse(const Error& error, int status_when_too_large);
  Task<void> linger();
  void expect_within(std::chrono::milliseconds limit) { deadline_ = Clock::now() + limit; }
  void expect_nothing() { deadline_ = Clock::time_point::max(); }

  const ServerState& server_;
  std::shared_ptr<Stream> stream_;
  MessageParser parser_;
  ReceiveBuffer buffer_;
  Clock::time_point deadline_;
  bool idle_ = false;
  bool gave_up_ = false;
  Scope* endless_ = nullptr;     // what runs an endless body, or uses a WebSocket
};

}  // namespace mayfly::http
