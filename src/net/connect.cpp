#include "async/scope.h"
#include "net/sockets.h"

namespace mayfly::http {
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
      deadline_.set(wall_clock() + (deadline - wall_clock()) / left--);
      last = co_await try_endpoint(entry.endpoint());
      if (!last) co_return std::move(socket_);
      if (wall_clock() >= deadline) break;
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

}  // namespace

Task<Result<std::unique_ptr<Stream>>> connect_to(Loop loop, Url url, std::shared_ptr<TlsContext> tls, Time deadline) {
  Connector connector(loop, url);
  CO_TRY_ASSIGN(auto socket, co_await connector.connect(deadline));
  auto name = url.scheme == "unix" ? "unix:" + url.socket_path : url.host + ":" + std::to_string(url.port);
  CO_TRY_ASSIGN(auto stream, make_client_stream(std::move(socket), std::move(name), std::move(tls), url.host));
  stream->set_deadline(deadline);
  CO_TRY(co_await stream->handshake());
  stream->set_deadline(Time::max());
  co_return stream;
}

}  // namespace mayfly::http
