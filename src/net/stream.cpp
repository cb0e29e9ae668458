#include "net/stream.h"

#include <sys/socket.h>

#include <array>
#include <boost/asio/ssl.hpp>
#include <utility>

#include "async/scope.h"
#include "net/sockets.h"
#include "net/tls_name.h"

namespace mayfly::http {

using TlsSocket = asio::ssl::stream<Socket>;

std::string describe(const tcp::endpoint& endpoint) {
  auto address = endpoint.address().to_string();
  if (endpoint.address().is_v6()) address = "[" + address + "]";
  return address + ":" + std::to_string(endpoint.port());
}

Result<asio::local::stream_protocol::endpoint> parse_unix_path(std::string_view path) {
  constexpr auto kMaxBytes = sizeof(sockaddr_un{}.sun_path) - 1;
  if (path.empty() || path.size() > kMaxBytes)
    return fail(Errc::invalid, "unix socket '" + std::string(path) + "': its path has 1 to " + std::to_string(kMaxBytes) + " bytes");
  return asio::local::stream_protocol::endpoint(std::string(path));
}

Time wall_clock() { return std::chrono::time_point_cast<Duration>(std::chrono::system_clock::now()); }

namespace {

asio::steady_timer::time_point to_steady(Time at) {
  constexpr auto kFarthest = std::chrono::hours(24 * 365);
  return asio::steady_timer::clock_type::now() + std::min<Duration>(at - wall_clock(), kFarthest);
}

}  // namespace

void DeadlineTimer::set(Time at) {
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

namespace {

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

std::unique_ptr<Stream> make_server_stream(Socket socket, std::string peer, std::shared_ptr<TlsContext> tls) {
  if (!tls) return std::make_unique<AsioStream<Socket>>(std::move(socket), std::move(peer), nullptr, true);
  TlsSocket secured(std::move(socket), tls->context);
  return std::make_unique<AsioStream<TlsSocket>>(std::move(secured), std::move(peer), std::move(tls), true);
}

bool expect_host(ssl_st* session, const std::string& host) {
  error_code not_numeric;
  asio::ip::make_address(host, not_numeric);
  return not_numeric ? SSL_set1_host(session, host.c_str()) == 1 && SSL_set_tlsext_host_name(session, host.c_str()) == 1
                     : X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(session), host.c_str()) == 1;
}

Result<std::unique_ptr<Stream>> make_client_stream(Socket socket, std::string peer, std::shared_ptr<TlsContext> tls,
                                                   const std::string& host) {
  if (!tls) return std::make_unique<AsioStream<Socket>>(std::move(socket), std::move(peer), nullptr, false);
  TlsSocket secured(std::move(socket), tls->context);
  if (!expect_host(secured.native_handle(), host)) return fail(Errc::invalid, "TLS: '" + host + "' cannot be a certificate's name");
  return std::make_unique<AsioStream<TlsSocket>>(std::move(secured), std::move(peer), std::move(tls), false);
}

}  // namespace mayfly::http
