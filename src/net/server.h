#pragma once
// The HTTP/1.1 server: every byte from outside that is not a runner's file or a database's answer enters Mayfly here, so
// each of its waits and buffers has a limit.

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "async/task.h"
#include "base/result.h"
#include "net/router.h"

namespace mayfly::http {

/// PEM texts: the certificate chain, leaf first, and its key.
struct ServerTls {
  std::string certificate_chain = {};
  std::string private_key = {};
};

struct ServerOptions {
  std::size_t max_header_bytes = 64 * 1024;              // request line and headers
  std::size_t max_connections = 10'000;                  // past it the longest idle one goes; if none is idle, 503. At most
                                                         // half of what RLIMIT_NOFILE allows the process
  std::chrono::milliseconds idle_timeout{60'000};        // between requests
  std::chrono::milliseconds header_timeout{10'000};      // TLS handshake; first byte of a head to its last
  std::chrono::milliseconds body_stall_timeout{30'000};  // a sender owes 16 KiB of a buffered body, or a byte of a streamed one
  std::chrono::milliseconds write_timeout{30'000};       // a reader owes 64 KiB
  std::chrono::milliseconds drain_timeout{10'000};       // what runs when stop() is called
  std::optional<ServerTls> tls = {};
};

class Server final {
 public:
  /// Router and loop outlive the server.
  Server(Loop loop, const Router& router, ServerOptions options = {});
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  /// Binds now: "127.0.0.1:8080", "[::1]:0", "localhost:8080", "unix:/run/mayfly.sock". Returns the address with its real port. A unix
  /// socket left behind by a dead server is replaced. Call it before serve(), as often as there are addresses.
  Result<std::string> listen(std::string_view address);

  /// Accepts and answers until stop() has drained, or the caller is canceled (what runs is then canceled too).
  Task<void> serve();

  /// Closes the listeners and idle connections, cancels endless bodies and lets the rest finish within drain_timeout.
  /// From the loop's thread.
  void stop();

  std::size_t connections() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace mayfly::http
