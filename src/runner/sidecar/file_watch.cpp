#include <sys/inotify.h>
#include <unistd.h>

#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "async/scope.h"
#include "runner/sidecar/log_file.h"

namespace mayfly {

namespace asio = boost::asio;

struct FileWatch::Impl {
  asio::posix::stream_descriptor events;
  explicit Impl(Loop loop) : events(std::move(loop), ::inotify_init1(IN_CLOEXEC | IN_NONBLOCK)) {}
};

FileWatch::FileWatch(Loop loop, const std::string& path) : impl_(std::make_unique<Impl>(std::move(loop))) {
  ::inotify_add_watch(impl_->events.native_handle(), path.c_str(), IN_MODIFY);
}

FileWatch::~FileWatch() = default;

Task<void> FileWatch::changed() {
  alignas(inotify_event) std::array<char, 4096> buffer;
  co_await impl_->events.async_read_some(asio::buffer(buffer), asio::as_tuple(asio::use_awaitable));
  co_await throw_if_canceled();
}

}  // namespace mayfly
