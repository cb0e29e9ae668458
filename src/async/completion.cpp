#include "async/completion.h"

#include <boost/asio/async_result.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <memory>
#include <mutex>

namespace mayfly {

namespace asio = boost::asio;

Task<void> completed_by(std::move_only_function<void(Done)> start) {
  auto loop = co_await asio::this_coro::executor;
  // Whoever called `done` is still inside the loop's own code when the loop goes on with this coroutine, which may be the
  // last that the loop does before it is destroyed. So the coroutine waits here until that caller has left.
  auto leaving = std::make_shared<std::mutex>();
  co_await asio::async_initiate<const asio::use_awaitable_t<>&, void()>(
      [&start, loop, leaving](auto handler) {
        // The loop must not run out of work while somebody is busy for it.
        auto busy = asio::prefer(loop, asio::execution::outstanding_work.tracked);
        start([busy = std::move(busy), leaving, handler = std::move(handler)]() mutable {
          std::lock_guard lock(*leaving);
          auto back_to = std::move(busy);
          asio::post(back_to, [handler = std::move(handler)]() mutable { std::move(handler)(); });
        });
      },
      asio::use_awaitable);
  std::lock_guard left(*leaving);
}

}  // namespace mayfly
