#include "support/run.h"

#include <boost/asio/io_context.hpp>
#include <exception>
#include <stdexcept>

#include "async/scope.h"
#include "support/virtual_clock.h"

namespace mayfly {

struct TestLoop::State {
  boost::asio::io_context io{1};
  VirtualClock* clock = nullptr;

  /// False when nothing can happen any more.
  bool turn() {
    io.restart();
    if (!clock) return io.run_one() > 0;
    return io.poll_one() > 0 || clock->jump_to_next();
  }
};

namespace {

Task<void> guarded(Task<void> task, bool& ended, std::exception_ptr& failure) {
  try {
    co_await std::move(task);
  } catch (...) {
    failure = std::current_exception();
  }
  ended = true;
}

}  // namespace

TestLoop::TestLoop() : state_(std::make_unique<State>()) {}
TestLoop::TestLoop(VirtualClock& clock) : TestLoop() { state_->clock = &clock; }
TestLoop::~TestLoop() = default;

Loop TestLoop::loop() const { return state_->io.get_executor(); }

void TestLoop::run(Task<void> task) {
  bool ended = false;
  std::exception_ptr failure;
  Scope scope(loop());
  scope.spawn(guarded(std::move(task), ended, failure));
  while (!ended || scope.size() > 0)
    if (!state_->turn()) {
      scope.cancel();
      while (state_->io.restart(), state_->io.poll_one() > 0) {
      }
      throw std::logic_error("the task waits for something that never comes");
    }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace mayfly
