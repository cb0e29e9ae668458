#include "async/completion.h"

#include <boost/asio/async_result.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace mayfly {

namespace asio = boost::asio;

Task<void> completed_by(std::move_only_function<void(Done)> start) {
  auto loop = co_await asio::this_coro::executor;
  co_await asio::async_initiate<const asio::use_awaitable_t<>&, void()>(
      [&start, loop](auto handler) {
        // The loop must not run out of work while somebody is busy for it.
        auto busy = asio::prefer(loop, asio::execution::outstanding_work.tracked);
        start([busy, handler = std::move(handler)]() mutable {
          asio::post(busy, [handler = std::move(handler)]() mutable { std::move(handler)(); });
        });
      },
      asio::use_awaitable);
}

}  // namespace mayfly
