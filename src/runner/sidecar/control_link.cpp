#include "runner/sidecar/control_link.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <vector>

#include "async/scope.h"

namespace mayfly {

namespace asio = boost::asio;

namespace {
constexpr auto await = asio::as_tuple(asio::use_awaitable);
constexpr std::size_t read_bytes = 64 << 10;
}  // namespace

struct ControlLink::Impl {
  asio::local::stream_protocol::socket socket;
  asio::steady_timer more;        // canceled when there is more to write
  std::string incoming;
  std::size_t searched = 0;       // of incoming, for '\n'
  std::string outgoing;
  std::vector<char> buffer;

  Impl(Loop loop, int fd)
      : socket(loop, asio::local::stream_protocol(), fd), more(loop, asio::steady_timer::time_point::max()), buffer(read_bytes) {}
};

ControlLink::ControlLink(Loop loop, int fd) : impl_(std::make_unique<Impl>(std::move(loop), fd)) {}
ControlLink::~ControlLink() = default;

Task<Result<FromInit>> ControlLink::receive() {
  auto& in = impl_->incoming;
  for (;;) {
    if (auto end = in.find('\n', impl_->searched); end != in.npos) {
      auto message = from_init_from(std::string_view(in).substr(0, end));
      in.erase(0, end + 1);
      impl_->searched = 0;
      co_return message;
    }
    impl_->searched = in.size();
    if (in.size() > max_control_line_bytes) co_return fail(Errc::too_large, "a control message is over the limit");
    auto [ec, n] = co_await impl_->socket.async_read_some(asio::buffer(impl_->buffer), await);
    co_await throw_if_canceled();
    if (ec) co_return fail(Errc::unavailable, "mayfly-init has hung up: " + ec.message());
    in.append(impl_->buffer.data(), n);
  }
}

void ControlLink::send(const ToInit& message) {
  impl_->outgoing += to_line(message);
  impl_->more.cancel();
}

Task<void> ControlLink::write_all() {
  for (;;) {
    if (impl_->outgoing.empty()) {
      co_await impl_->more.async_wait(await);
      co_await throw_if_canceled();
      continue;
    }
    auto batch = std::exchange(impl_->outgoing, {});
    auto [ec, n] = co_await asio::async_write(impl_->socket, asio::buffer(batch), await);
    co_await throw_if_canceled();
    if (ec) co_return;
  }
}

}  // namespace mayfly
