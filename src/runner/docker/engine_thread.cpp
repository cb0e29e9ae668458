#include "runner/docker/engine_thread.h"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <thread>

#include "async/scope.h"

namespace mayfly {

namespace asio = boost::asio;

struct EngineThread::Impl {
  asio::io_context io{1};
  asio::executor_work_guard<asio::io_context::executor_type> work{io.get_executor()};
  Scope scope{io.get_executor()};
  std::thread thread;
};

EngineThread::EngineThread() : impl_(std::make_unique<Impl>()) {
  impl_->thread = std::thread([this] { impl_->io.run(); });
}

EngineThread::~EngineThread() { stop(); }

Loop EngineThread::loop() const { return impl_->io.get_executor(); }

void EngineThread::spawn(std::function<Task<void>()> make) {
  asio::post(impl_->io, [this, make = std::move(make)] { impl_->scope.spawn(make()); });
}

void EngineThread::stop() {
  if (!impl_->thread.joinable()) return;
  asio::post(impl_->io, [this] {
    impl_->scope.cancel();
    impl_->work.reset();
  });
  impl_->thread.join();
}

void EngineThread::run_last(Task<void> task) {
  Scope scope(impl_->io.get_executor());
  scope.spawn(std::move(task));
  impl_->io.restart();
  impl_->io.run();
}

void post_to(const Loop& loop, std::move_only_function<void()> work) {
  asio::post(loop, [work = std::make_shared<std::move_only_function<void()>>(std::move(work))] { (*work)(); });
}

}  // namespace mayfly
