#include "net/stream.h"

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/basic_stream_socket.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <charconv>
#include <utility>

#include "async/scope.h"

namespace mayfly::http {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;
using Socket = asio::basic_stream_socket<asio::generic::stream_protocol, Loop>;
using Acceptor = asio::basic_socket_acceptor<asio::generic::stream_protocol, Loop>;
using TlsSocket = asio::ssl::stream<Socket>;

namespace {

constexpr auto kAwait = asio::as_tuple(asio::use_awaitable);

std::string describe(const tcp::endpoint& endpoint) {
  auto address = endpoint.address().to_string();
  if (endpoint.address().is_v6()) address = "[" + address + "]";
  return address + ":" + std::to_string(endpoint.port());
}

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

Time now() { return std::chrono::time_point_cast<Duration>(std::chrono::system_clock::now()); }

asio::steady_timer::time_point to_steady(Time at) {
  constexpr auto kFarthest = std::chrono::hours(24 * 365);
  return asio::steady_timer::clock_type::now() + std::min<Duration>(at - now(), kFarthest);
}

/// Calls `expire` once the deadline has passed (from set() if it has already), unless it was moved or this was destroyed before.
class DeadlineTimer final {
 public:
  DeadlineTimer(Loop loop, std::function<void()> expire) : timer_(std::move(loop)), expire_(std::move(expire)) {}

  void set(Time at) {
    if (at == Time::max()) {
      timer_.expires_at(asio::steady_timer::time_point::max());
      return;
    }
    timer_.expires_at(to_steady(at));
    if (timer_.expiry() <= asio::steady_timer::clock_type::now()) return expire_();
    timer_.async_wait([this, alive = std::weak_ptr<char>(alive_)](error_code ec) {
      // The wait may have ended well before the deadline was moved.
      if (!ec && !alive.expired() && timer_.expiry() <= asio::steady_timer::clock_type::now()) expire_();
    });
  }

 private:
  asio::steady_timer timer_;
  std::function<void()> expire_;
  std::shared_ptr<char> alive_ = std::make_shared<char>();
};



/// Over a plain socket (Layer = Socket) or TLS (Layer = TlsSocket).
template <class Layer>
class AsioStream final : public Stream {
  static constexpr bool kTls = !std::is_same_v<Layer, Socket>;

 public:
  AsioStream(Layer layer, std::string peer, std::shared_ptr<TlsContext> tls, bool is_server)
      : tls_(std::move(tls)), layer_(std::move(layer)), peer_(std::move(peer)), is_server_(is_server) {
    error_code ignored;
    socket().non_blocking(true, ignored);
    if (peer_ != "unix") socket().set_option(tcp::no_delay(true), ignored);
  }

  Task<Result<void>> handshake() override {
    if constexpr (kTls) {
      auto side = is_server_ ? TlsSocket::server : TlsSocket::client;
      auto [ec] = co_await layer_.async_handshake(side, kAwait);
      if (ec) co_return co_await failure("TLS handshake with", ec);
    }
    co_return Result<void>{};
  }

  Task<Result<std::size_t>> read_some(std::span<char> into) override {
    if (ended_) co_return std::unexpected(*ended_);
    auto [ec, n] = co_await layer_.async_read_some(asio::buffer(into.data(), into.size()), kAwait);
    if (ec && ec != asio::error::eof) co_return co_await failure("reading from", ec);
    co_return n;
  }

  Task<Result<void>> write(std::span<const std::string_view> pieces) override {
    if (ended_) co_return std::unexpected(*ended_);
    std::array<asio::const_buffer, kMaxPieces> buffers;
    for (std::size_t i = 0; i < pieces.size(); ++i) buffers[i] = asio::buffer(pieces[i].data(), pieces[i].size());
    auto left = std::span(buffers).first(pieces.size());
    while (skip_empty(left)) {
      auto [ec, n] = co_await write_some(left);
      if (ec) co_return co_await failure("writing to", ec);
      advance(left, n);
    }
    co_return Result<void>{};
  }

  void end_writing() override {
    error_code ignored;
    if constexpr (kTls) SSL_set_quiet_shutdown(layer_.native_handle(), 1);
    socket().shutdown(asio::socket_base::shutdown_send, ignored);
  }

  void close() override { end(Errc::unavailable, "the connection was closed"); }

  void set_deadline(Time at) override {
    if (!deadline_ && at == Time::max()) return;
    if (!deadline_)
      deadline_.emplace(socket().get_executor(), [this] { end(Errc::timeout, "the deadline passed"); });
    deadline_->set(at);
  }

  bool is_quiet() override {
    if (ended_ || !socket().is_open()) return false;
    char byte;
    auto n = ::recv(socket().native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    // TLS may have session tickets waiting; they say nothing about the connection's health.
    return kTls ? n != 0 : n < 0 && errno == EAGAIN;
  }

  std::string peer() const override { return peer_; }

 private:
  using Written = std::tuple<error_code, std::size_t>;

  Socket& socket() {
    if constexpr (kTls) return layer_.next_layer();
    else return layer_;
  }

  /// Straight to the system while it takes the bytes; through the loop when it does not, and once in a while, so that a fast
  /// reader of a long answer cannot keep the loop to itself.
  Task<Written> write_some(std::span<const asio::const_buffer> buffers) {
    if constexpr (!kTls) {
      constexpr std::size_t kTurnBytes = 256 * 1024;
      if (since_turn_ < kTurnBytes) {
        error_code ec;
        auto n = layer_.write_some(buffers, ec);
        since_turn_ += n;
        if (ec != asio::error::would_block) co_return Written{ec, n};
      }
      since_turn_ = 0;
    }
    co_return co_await layer_.async_write_some(buffers, kAwait);
  }

  static bool skip_empty(std::span<asio::const_buffer>& buffers) {
    while (!buffers.empty() && buffers.front().size() == 0) buffers = buffers.subspan(1);
    return !buffers.empty();
  }

  static void advance(std::span<asio::const_buffer>& buffers, std::size_t n) {
    while (n > 0) {
      auto step = std::min(n, buffers.front().size());
      buffers.front() += step;
      n -= step;
      skip_empty(buffers);
    }
  }

  /// Why an operation ended: cancellation unwinds the caller instead.
  Task<std::unexpected<Error>> failure(std::string_view doing, error_code ec) {
    co_await throw_if_canceled();
    if (ended_) co_return std::unexpected(*ended_);
    co_return fail(Errc::unavailable, std::string(doing) + " " + peer_ + ": " + ec.message());
  }

  void end(Errc code, std::string_view why) {
    if (!ended_) ended_ = Error{code, peer_ + ": " + std::string(why), {}};
    error_code ignored;
    socket().close(ignored);
  }

  std::shared_ptr<TlsContext> tls_;
  Layer layer_;
  std::string peer_;
  bool is_server_;
  std::size_t since_turn_ = 0;
  std::optional<Error> ended_;
  std::optional<DeadlineTimer> deadline_;
};

}  // namespace

class TlsContext final {
 public:
  explicit TlsContext(asio::ssl::context::method method) : context(method) {
    context.set_options(asio::ssl::context::default_workarounds | asio::ssl::context::no_compression);
    SSL_CTX_set_min_proto_version(context.native_handle(), TLS1_2_VERSION);
    SSL_CTX_set_mode(context.native_handle(), SSL_MODE_RELEASE_BUFFERS);
  }

  Result<void> use_key(const std::string& chain, const std::string& key) {
    error_code ec;
    context.use_certificate_chain(asio::buffer(chain), ec);
    if (ec) return fail(Errc::invalid, "TLS certificate chain: " + ec.message(), "Give a PEM file, the leaf first");
    context.use_private_key(asio::buffer(key), asio::ssl::context::pem, ec);
    if (ec) return fail(Errc::invalid, "TLS private key: " + ec.message(), "Give the PEM key of the certificate");
    return {};
  }

  asio::ssl::context context;
};

Result<std::shared_ptr<TlsContext>> make_server_tls(const ServerTls& tls) {
  auto made = std::make_shared<TlsContext>(asio::ssl::context::tls_server);
  TRY(made->use_key(tls.certificate_chain, tls.private_key));
  return made;
}

Result<std::shared_ptr<TlsContext>> make_client_tls(const ClientTls& tls) {
  auto made = std::make_shared<TlsContext>(asio::ssl::context::tls_client);
  error_code ec;
  made->context.set_verify_mode(tls.verify ? asio::ssl::verify_peer : asio::ssl::verify_none, ec);
  if (tls.ca.empty()) {
    made->context.set_default_verify_paths(ec);
  } else {
    made->context.add_certificate_authority(asio::buffer(tls.ca), ec);
    if (ec) return fail(Errc::invalid, "TLS authority: " + ec.message(), "Give a PEM file");
  }
  if (!tls.certificate_chain.empty()) TRY(made->use_key(tls.certificate_chain, tls.private_key));
  return made;
}

namespace {

std::unique_ptr<Stream> make_server_stream(Socket socket, std::string peer, std::shared_ptr<TlsContext> tls) {
  if (!tls) return std::make_unique<AsioStream<Socket>>(std::move(socket), std::move(peer), nullptr, true);
  TlsSocket secured(std::move(socket), tls->context);
  return std::make_unique<AsioStream<TlsSocket>>(std::move(secured), std::move(peer), std::move(tls), true);
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

Result<asio::local::stream_protocol::endpoint> parse_unix_path(std::string_view path) {
  if (path.empty() || path.size() >= sizeof(sockaddr_un{}.sun_path))
    return bad_address(path, "a unix socket's path has 1 to " + std::to_string(sizeof(sockaddr_un{}.sun_path) - 1) + " bytes");
  return asio::local::stream_protocol::endpoint(std::string(path));
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

namespace {

/// One attempt to reach a server; its deadline covers look-up and every address.
class Connector final {
 public:
  Connector(Loop loop, const Url& url)
      : loop_(loop), url_(url), resolver_(loop), socket_(loop), deadline_(loop, [this] { expire(); }) {}

  Task<Result<Socket>> connect(Time deadline) {
    deadline_.set(deadline);
    if (url_.scheme == "unix") co_return co_await connect_unix();
    error_code not_numeric;
    auto ip = asio::ip::make_address(url_.host, not_numeric);
    if (!not_numeric) {
      tcp::endpoint endpoint(ip, url_.port);
      auto ec = co_await try_endpoint(endpoint);
      if (ec) co_return co_await failure(describe(endpoint), ec);
      co_return std::move(socket_);
    }
    co_return co_await connect_by_name(deadline);
  }

 private:
  Task<Result<Socket>> connect_unix() {
    auto endpoint = parse_unix_path(url_.socket_path);
    if (!endpoint) co_return std::unexpected(endpoint.error());
    auto ec = co_await try_endpoint(*endpoint);
    if (ec) co_return co_await failure("unix:" + url_.socket_path, ec);
    co_return std::move(socket_);
  }

  Task<Result<Socket>> connect_by_name(Time deadline) {
    auto name = url_.host + ":" + std::to_string(url_.port);
    auto [ec, found] = co_await resolver_.async_resolve(url_.host, std::to_string(url_.port), kAwait);
    if (ec) co_return co_await failure(name, ec);
    error_code last = asio::error::host_not_found;
    auto left = static_cast<std::int64_t>(found.size());
    for (auto& entry : found) {
      // An address that swallows packets leaves the others their share of the time.
      deadline_.set(now() + (deadline - now()) / left--);
      last = co_await try_endpoint(entry.endpoint());
      if (!last) co_return std::move(socket_);
      if (now() >= deadline) break;
      expired_ = false;
    }
    co_return co_await failure(name, last);
  }

  template <class Endpoint>
  Task<error_code> try_endpoint(Endpoint endpoint) {
    if (expired_) co_return asio::error::operation_aborted;
    error_code ignored;
    socket_.close(ignored);
    auto [ec] = co_await socket_.async_connect(endpoint, kAwait);
    co_return ec;
  }

  Task<std::unexpected<Error>> failure(std::string address, error_code ec) {
    co_await throw_if_canceled();
    if (expired_) co_return fail(Errc::timeout, "connecting to " + address + ": the deadline passed");
    co_return fail(Errc::unavailable, "connecting to " + address + ": " + ec.message());
  }

  void expire() {
    expired_ = true;
    error_code ignored;
    resolver_.cancel();
    socket_.close(ignored);
  }

  Loop loop_;
  const Url& url_;
  asio::ip::basic_resolver<tcp, Loop> resolver_;
  Socket socket_;
  DeadlineTimer deadline_;
  bool expired_ = false;
};

/// Whom the certificate has to name, and the name the server chooses its certificate by.
Result<void> expect_host(TlsSocket& socket, const std::string& host) {
  auto* ssl = socket.native_handle();
  error_code not_numeric;
  asio::ip::make_address(host, not_numeric);
  bool set = not_numeric ? SSL_set1_host(ssl, host.c_str()) == 1 && SSL_set_tlsext_host_name(ssl, host.c_str()) == 1
                         : X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host.c_str()) == 1;
  if (!set) return fail(Errc::invalid, "TLS: '" + host + "' cannot be a certificate's name");
  return {};
}

}  // namespace

Task<Result<std::unique_ptr<Stream>>> connect_to(Loop loop, Url url, std::shared_ptr<TlsContext> tls, Time deadline) {
  Connector connector(loop, url);
  CO_TRY_ASSIGN(auto socket, co_await connector.connect(deadline));
  auto name = url.scheme == "unix" ? "unix:" + url.socket_path : url.host + ":" + std::to_string(url.port);
  if (!tls) co_return std::make_unique<AsioStream<Socket>>(std::move(socket), std::move(name), nullptr, false);
  TlsSocket secured(std::move(socket), tls->context);
  CO_TRY(expect_host(secured, url.host));
  auto stream = std::make_unique<AsioStream<TlsSocket>>(std::move(secured), std::move(name), std::move(tls), false);
  stream->set_deadline(deadline);
  CO_TRY(co_await stream->handshake());
  stream->set_deadline(Time::max());
  co_return stream;
}

}  // namespace mayfly::http
