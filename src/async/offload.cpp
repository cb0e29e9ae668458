#include "async/offload.h"

#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>

#include "async/completion.h"

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
  co_await completed_by([&](Done done) {
    pool.post([&work, done = std::move(done)]() mutable {
      work();
      done();
    });
  });
}

}  // namespace mayfly
