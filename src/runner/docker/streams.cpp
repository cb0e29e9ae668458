#include "runner/docker/streams.h"

#include <fcntl.h>
#include <unistd.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <cerrno>
#include <vector>

#include "adapters/docker/frames.h"
#include "async/scope.h"
#include "async/system_timer.h"

namespace mayfly {

namespace asio = boost::asio;

namespace {

constexpr auto await = asio::as_tuple(asio::use_awaitable);
constexpr std::size_t piece_bytes = 64 << 10;
constexpr Duration full_disk_pause = std::chrono::milliseconds(100);

Time now() { return std::chrono::time_point_cast<Duration>(std::chrono::system_clock::now()); }

}  // namespace

struct ContainerStreams::Impl {
  Impl(Loop l, std::unique_ptr<http::Tunnel> t, int control_fd, int log_fd)
      : loop(std::move(l)), tunnel(std::move(t)), control(loop, asio::local::stream_protocol(), fcntl(control_fd, F_DUPFD_CLOEXEC, 3)),
        log(fcntl(log_fd, F_DUPFD_CLOEXEC, 3)), timer(make_system_timers(loop)->make_timer()) {}

  /// The runner's words to init; its end is init's end of input.
  Task<void> down() {
    std::vector<char> piece(piece_bytes);
    for (;;) {
      auto [ec, n] = co_await control.async_read_some(asio::buffer(piece), await);
      co_await throw_if_canceled();
      if (ec) break;
      if (!co_await tunnel->write({piece.data(), n})) co_return;
    }
    tunnel->end_writing();
  }

  Task<void> up_and_end(Scope& both, Result<void>& ended) {
    ended = co_await up();
    both.cancel();
  }

  Task<Result<void>> up() {
    std::vector<char> piece(piece_bytes);
    for (;;) {
      CO_TRY_ASSIGN(auto n, co_await tunnel->read(piece));
      if (n == 0) break;
      std::string words;
      std::string frames_of_log;
      auto take = [&](docker::FrameReader::Stream stream, std::string_view bytes) { (stream == docker::FrameReader::Stream::error ? frames_of_log : words) += bytes; };
      CO_TRY(frames.feed({piece.data(), n}, take));
      CO_TRY(co_await append(frames_of_log));  // first: a last word says that the log is complete
      auto [ec, sent] = co_await asio::async_write(control, asio::buffer(words), await);
      co_await throw_if_canceled();
      if (ec) co_return fail(Errc::unavailable, "the runner does not listen any more");
    }
    if (!frames.between_frames()) co_return fail(Errc::unavailable, "the engine's stream broke off");
    co_return Result<void>{};
  }

  /// A full disk keeps the job waiting, as it does in a sandbox.
  Task<Result<void>> append(std::string_view bytes) {
    log_bytes += std::int64_t(bytes.size());
    if (log_bytes > max_log_stream_bytes) co_return fail(Errc::too_large, "the log is larger than mayfly-init makes one");
    while (!bytes.empty()) {
      auto n = ::write(log.get(), bytes.data(), bytes.size());
      if (n > 0) bytes.remove_prefix(std::size_t(n));
      else if (n < 0 && errno == ENOSPC) co_await timer->wait_until(now() + full_disk_pause);
      else if (errno != EINTR) co_return fail(Errc::unavailable, "the log file cannot be written");
    }
    co_return Result<void>{};
  }

  Loop loop;
  std::unique_ptr<http::Tunnel> tunnel;
  asio::local::stream_protocol::socket control;
  UniqueFd log;
  std::unique_ptr<Timer> timer;
  docker::FrameReader frames;
  std::int64_t log_bytes = 0;
};

ContainerStreams::ContainerStreams(Loop loop, std::unique_ptr<http::Tunnel> tunnel, int control_fd, int log_fd)
    : impl_(std::make_unique<Impl>(std::move(loop), std::move(tunnel), control_fd, log_fd)) {}

ContainerStreams::~ContainerStreams() = default;

Task<Result<void>> ContainerStreams::run() {
  Scope both(impl_->loop);
  Result<void> ended;
  both.spawn(impl_->down());
  both.spawn(impl_->up_and_end(both, ended));
  co_await both.join();
  boost::system::error_code ignored;
  impl_->control.close(ignored);
  co_return ended;
}

void ContainerStreams::set_deadline(Time at) { impl_->tunnel->set_deadline(at); }

}  // namespace mayfly
