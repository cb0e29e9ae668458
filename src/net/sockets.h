#pragma once
// Asio's sockets as stream.cpp, listen.cpp and connect.cpp share them. Nothing else includes this: it costs seconds.

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/basic_stream_socket.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <functional>
#include <memory>
#include <string>

#include "net/stream.h"

namespace mayfly::http {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;
using Socket = asio::basic_stream_socket<asio::generic::stream_protocol, Loop>;

inline constexpr auto kAwait = asio::as_tuple(asio::use_awaitable);

std::string describe(const tcp::endpoint& endpoint);  // "127.0.0.1:80", "[::1]:80"

/// Errc::invalid unless it fits into a socket address.
Result<asio::local::stream_protocol::endpoint> parse_unix_path(std::string_view path);

Time wall_clock();

/// Calls `expire` once the deadline has passed (from set() if it has already), unless it was moved or this was destroyed before.
class DeadlineTimer final {
 public:
  DeadlineTimer(Loop loop, std::function<void()> expire) : timer_(std::move(loop)), expire_(std::move(expire)) {}

  void set(Time at);  // Time::max() is never

 private:
  asio::steady_timer timer_;
  std::function<void()> expire_;
  std::shared_ptr<char> alive_ = std::make_shared<char>();
};

/// `tls` may be null.
std::unique_ptr<Stream> make_server_stream(Socket socket, std::string peer, std::shared_ptr<TlsContext> tls);

/// With TLS the peer's certificate has to name `host`. Errc::invalid if no certificate can.
Result<std::unique_ptr<Stream>> make_client_stream(Socket socket, std::string peer, std::shared_ptr<TlsContext> tls,
                                                   const std::string& host);

}  // namespace mayfly::http
