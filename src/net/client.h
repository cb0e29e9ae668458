#pragma once
// The HTTP/1.1 client behind every adapter that talks to another program (S3, Vault, Docker, Kubernetes, forges), the
// runner and the CLI. Connections are kept and used again; nothing is retried that could have happened.

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <variant>

#include "async/task.h"
#include "base/result.h"
#include "base/time.h"
#include "net/http.h"
#include "net/websocket.h"

namespace mayfly::http {

/// PEM texts. Server certificates are checked against the system's authorities, or `ca` alone if it is given.
struct ClientTls {
  std::string ca = {};
  std::string certificate_chain = {};  // the client's own, with its key, where the server asks for one
  std::string private_key = {};
  bool verify = true;             // false only for a server whose identity does not matter
};

struct ClientOptions {
  std::size_t max_idle_per_endpoint = 32;
  std::chrono::milliseconds idle_timeout{30'000};     // an idle connection older than this is not used again
  std::chrono::milliseconds connect_timeout{10'000};  // name look-up, connect and TLS handshake together
  std::size_t max_header_bytes = 64 * 1024;
  ClientTls tls = {};
};

/// Called once; with a `length` it must write exactly that much, else the body is chunked. An error from it gives the
/// request up and becomes its result.
struct BodySource {
  std::function<Task<Result<void>>(BodyWriter&)> write = {};
  std::optional<std::uint64_t> length = {};
};

struct ClientRequest {
  std::string method = "GET";
  std::string url = {};  // "https://host/path", "unix:/run/docker.sock:/v1.41/info"
  Headers headers = {};  // Host, Content-Length, Transfer-Encoding and Connection are the client's
  std::variant<std::string, BodySource> body = {};
  Time deadline = Time::max();  // of the whole exchange: connect, send, answer
  std::size_t max_response_bytes = 16 * 1024 * 1024;  // send() only
};

struct ClientResponse {
  int status = 0;
  Headers headers;
  std::string body;

  bool ok() const { return status >= 200 && status < 300; }
};

/// An answer whose body is read as it arrives. Destroyed before its end, the connection is closed.
class ClientStream {
 public:
  virtual ~ClientStream() = default;
  virtual int status() const = 0;
  virtual const Headers& headers() const = 0;
  /// Fills the front of `into`; 0 is the end. Errors as Client::send.
  virtual Task<Result<std::size_t>> read(std::span<char> into) = 0;
  /// Replaces the request's deadline: for watches, whose every read has its own.
  virtual void set_deadline(Time deadline) = 0;
};

/// A connection that has left HTTP behind (101): both sides speak as they like. At most one read and one write wait at a time.
/// Destroying it closes it.
class Tunnel {
 public:
  virtual ~Tunnel() = default;
  /// At least one byte; 0 when the peer has ended its side. Errors as Client::send.
  virtual Task<Result<std::size_t>> read(std::span<char> into) = 0;
  virtual Task<Result<void>> write(std::string_view bytes) = 0;
  /// Ends this side; the peer may still send.
  virtual void end_writing() = 0;
  /// What waits then, and every later call, fails with Errc::timeout. Time::max() is never, as it begins.
  virtual void set_deadline(Time at) = 0;
};

struct Upgraded {
  ClientResponse answer;            // with the server's reasons where it did not agree
  std::unique_ptr<Tunnel> tunnel;   // only when the answer's status is 101
};

class Client final {
 public:
  explicit Client(Loop loop, ClientOptions options = {});
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  /// Any status is a success here; redirects are not followed. Errc::unavailable: not connected, or the connection broke (the
  /// message names the address; whether a request that was sent happened is then unknown). Errc::timeout: the deadline or
  /// connect_timeout passed. Errc::too_large: max_response_bytes. Errc::invalid: the URL, or an answer that is not HTTP.
  /// A kept connection found dead before a byte of the answer is replaced once, for idempotent methods with a string body.
  Task<Result<ClientResponse>> send(ClientRequest request);

  /// Returns when the head has arrived.
  Task<Result<std::unique_ptr<ClientStream>>> open(ClientRequest request);

  /// Asks the server to speak `protocol` from here on ("websocket", Docker's "tcp"), on a connection of its own. The deadline
  /// ends with the answer.
  Task<Result<Upgraded>> upgrade(ClientRequest request, std::string protocol);

  /// A GET for a WebSocket, on a connection of its own: runs `use` on it, and returns when it has ended. The request's deadline is
  /// for connect and handshake. Errors as send(); a server that will not says why.
  Task<Result<void>> websocket(ClientRequest request, WebSocketUse use, WebSocketOptions options = {});

  std::size_t idle_connections() const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace mayfly::http
