#pragma once
// One connection's bytes, over TCP, a unix socket or TLS. Internal to net: the sockets' headers cost seconds to compile and
// stay behind it, and the tests and fuzzers of everything above bring streams of their own.

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "async/task.h"
#include "base/result.h"
#include "base/time.h"
#include "net/client.h"
#include "net/server.h"
#include "net/url.h"

namespace mayfly::http {

/// At most one read and one write wait at a time. Destroying it closes it.
class Stream {
 public:
  virtual ~Stream() = default;
  /// TLS's; nothing to do without TLS.
  virtual Task<Result<void>> handshake() = 0;
  /// At least one byte; 0 when the peer has ended its side.
  virtual Task<Result<std::size_t>> read_some(std::span<char> into) = 0;
  /// All pieces in order, at most kMaxPieces.
  virtual Task<Result<void>> write(std::span<const std::string_view> pieces) = 0;
  /// Ends this side; the peer may still send.
  virtual void end_writing() = 0;
  /// What waits fails with Errc::unavailable, and so does every later call.
  virtual void close() = 0;
  /// What waits then, and every later call, fails with Errc::timeout. Time::max() is never.
  virtual void set_deadline(Time at) = 0;
  /// True while there is nothing to read and the peer has not ended: what a connection kept for later has to be.
  virtual bool is_quiet() = 0;
  virtual std::string peer() const = 0;

  static constexpr std::size_t kMaxPieces = 3;
};

class TlsContext;
Result<std::shared_ptr<TlsContext>> make_server_tls(const ServerTls& tls);
Result<std::shared_ptr<TlsContext>> make_client_tls(const ClientTls& tls);

class Listener {
 public:
  virtual ~Listener() = default;
  virtual std::string address() const = 0;
  /// The TLS handshake is left to the caller. Errc::unavailable once closed; Errc::rate_limited when the process is out of
  /// descriptors and should wait.
  virtual Task<Result<std::unique_ptr<Stream>>> accept() = 0;
  virtual void close() = 0;
};

/// `tls` may be null. See Server::listen for addresses.
Result<std::unique_ptr<Listener>> listen_on(Loop loop, std::string_view address, std::shared_ptr<TlsContext> tls);

/// Looks the name up, connects to its addresses in turn, and shakes hands when `tls` is given. The stream has no deadline.
Task<Result<std::unique_ptr<Stream>>> connect_to(Loop loop, Url url, std::shared_ptr<TlsContext> tls, Time deadline);

}  // namespace mayfly::http
