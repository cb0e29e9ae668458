#include <unistd.h>

#include <boost/asio/basic_socket_acceptor.hpp>
#include <charconv>
#include <cstring>
#include <optional>

#include "async/scope.h"
#include "net/sockets.h"

namespace mayfly::http {

using Acceptor = asio::basic_socket_acceptor<asio::generic::stream_protocol, Loop>;

namespace {

/// An IP endpoint out of a generic one; nothing for a unix socket.
std::optional<tcp::endpoint> as_tcp(const asio::generic::stream_protocol::endpoint& endpoint) {
  auto family = endpoint.protocol().family();
  tcp::endpoint out;
  if ((family != AF_INET && family != AF_INET6) || endpoint.size() > out.capacity()) return std::nullopt;
  std::memcpy(out.data(), endpoint.data(), endpoint.size());
  out.resize(endpoint.size());
  return out;
}

std::string describe_peer(const asio::generic::stream_protocol::endpoint& endpoint) {
  auto ip = as_tcp(endpoint);
  return ip ? describe(*ip) : "unix";
}

class AsioListener final : public Listener {
 public:
  AsioListener(Acceptor acceptor, std::string address, std::string socket_path, std::shared_ptr<TlsContext> tls)
      : acceptor_(std::move(acceptor)),
        address_(std::move(address)),
        socket_path_(std::move(socket_path)),
        tls_(std::move(tls)) {}
  ~AsioListener() override { close(); }

  std::string address() const override { return address_; }

  Task<Result<std::unique_ptr<Stream>>> accept() override {
    asio::generic::stream_protocol::endpoint peer;
    Socket socket(acceptor_.get_executor());
    auto [ec] = co_await acceptor_.async_accept(socket, peer, kAwait);
    if (!ec) co_return make_server_stream(std::move(socket), describe_peer(peer), tls_);
    co_await throw_if_canceled();
    co_return fail(acceptor_.is_open() ? Errc::rate_limited : Errc::unavailable,
                   "accepting on " + address_ + ": " + ec.message());
  }

  void close() override {
    if (!acceptor_.is_open()) return;
    error_code ignored;
    acceptor_.close(ignored);
    if (!socket_path_.empty()) ::unlink(socket_path_.c_str());
  }

 private:
  Acceptor acceptor_;
  std::string address_;
  std::string socket_path_;
  std::shared_ptr<TlsContext> tls_;
};

std::unexpected<Error> bad_address(std::string_view address, std::string_view why) {
  return fail(Errc::invalid, "listen address '" + std::string(address) + "': " + std::string(why),
              "Write it like 127.0.0.1:8080, [::1]:8080 or unix:/run/mayfly.sock");
}

Result<tcp::endpoint> parse_ip_address(std::string_view text) {
  auto colon = text.rfind(':');
  if (colon == text.npos) return bad_address(text, "no port");
  auto host = std::string(text.substr(0, colon)), port_text = std::string(text.substr(colon + 1));
  if (host == "localhost") host = "127.0.0.1";
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  std::uint16_t port = 0;
  auto [end, failed] = std::from_chars(port_text.data(), port_text.data() + port_text.size(), port);
  if (failed != std::errc{} || *end != 0) return bad_address(text, "the port is not 0 to 65535");
  error_code ec;
  auto ip = asio::ip::make_address(host, ec);
  if (ec) return bad_address(text, "not an IP address");
  return tcp::endpoint(ip, port);
}

/// A socket file whose server is gone refuses connections.
bool is_abandoned(Loop loop, const asio::local::stream_protocol::endpoint& endpoint) {
  Socket probe(std::move(loop));
  error_code ec;
  probe.connect(endpoint, ec);
  return ec == asio::error::connection_refused;
}

template <class Endpoint>
Result<Acceptor> bind_to(Loop loop, const Endpoint& endpoint, std::string_view address) {
  Acceptor acceptor(std::move(loop));
  error_code ec;
  acceptor.open(endpoint.protocol(), ec);
  if (!ec) acceptor.set_option(asio::socket_base::reuse_address(true), ec);
  if (!ec) acceptor.bind(endpoint, ec);
  if (!ec) acceptor.listen(asio::socket_base::max_listen_connections, ec);
  if (!ec) return acceptor;
  auto code = ec == asio::error::address_in_use ? Errc::conflict : Errc::unavailable;
  return fail(code, "listening on " + std::string(address) + ": " + ec.message(), "Choose another address with --listen");
}

Result<std::unique_ptr<Listener>> listen_on_unix(Loop loop, std::string_view path, std::shared_ptr<TlsContext> tls) {
  TRY_ASSIGN(auto endpoint, parse_unix_path(path));
  if (is_abandoned(loop, endpoint)) ::unlink(endpoint.path().c_str());
  auto address = "unix:" + endpoint.path();
  TRY_ASSIGN(auto acceptor, bind_to(loop, endpoint, address));
  return std::make_unique<AsioListener>(std::move(acceptor), address, endpoint.path(), std::move(tls));
}

}  // namespace

Result<std::unique_ptr<Listener>> listen_on(Loop loop, std::string_view address, std::shared_ptr<TlsContext> tls) {
  if (address.starts_with("unix:")) return listen_on_unix(loop, address.substr(5), std::move(tls));
  TRY_ASSIGN(auto endpoint, parse_ip_address(address));
  TRY_ASSIGN(auto acceptor, bind_to(loop, endpoint, address));
  auto bound = as_tcp(acceptor.local_endpoint());
  return std::make_unique<AsioListener>(std::move(acceptor), describe(bound.value_or(endpoint)), "", std::move(tls));
}

}  // namespace mayfly::http
