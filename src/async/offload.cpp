#include "async/offload.h"

#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace mayfly {

namespace asio = boost::asio;

namespace {

class ThreadOffload final : public Offload {
 public:
  explicit ThreadOffload(unsigned threads) : pool_(threads) {}
  ~ThreadOffload() override { pool_.join(); }
  void post(std::move_only_function<void()> work) override {
    asio::post(pool_, [work = std::make_shared<std::move_only_function<void()>>(std::move(work))] { (*work)(); });
  }

 private:
  asio::thread_pool pool_;
};

class InlineOffload final : public Offload {
 public:
  void post(std::move_only_function<void()> work) override { work(); }
};

}  // namespace

std::unique_ptr<Offload> make_thread_offload(unsigned threads) { return std::make_unique<ThreadOffload>(threads); }
std::unique_ptr<Offload> make_inline_offload() { return std::make_unique<InlineOffload>(); }

Task<void> run_on(Offload& pool, std::move_only_function<void()> work) {
  auto loop = co_await asio::this_coro::executor;
  co_await asio::async_initiate<const asio::use_awaitable_t<>&, void()>(
      [&pool, &work, loop](auto handler) {
        auto resume = std::make_shared<decltype(handler)>(std::move(handler));
        // The loop must not run out of work while a thread is busy for it.
        auto busy = asio::prefer(loop, asio::execution::outstanding_work.tracked);
        pool.post([&work, busy, resume] {
          work();
          asio::post(busy, [resume] { std::move (*resume)(); });
        });
      },
      asio::use_awaitable);
}

}  // namespace mayfly
