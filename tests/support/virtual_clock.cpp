#include "support/virtual_clock.h"

#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <optional>

#include "async/scope.h"

namespace mayfly {

namespace asio = boost::asio;

class VirtualTimer final : public Timer {
 public:
  explicit VirtualTimer(VirtualClock& clock) : clock_(clock) {}

  Task<bool> wait_until(Time at) override {
    co_await throw_if_canceled();
    auto due = co_await asio::async_initiate<const asio::use_awaitable_t<>&, void(bool)>(
        [this, at](auto handler) { begin(at, std::move(handler)); }, asio::use_awaitable);
    key_.reset();
    co_await throw_if_canceled();
    co_return due;
  }

  void cancel() override {
    if (!key_) return;
    if (auto wait = clock_.waiting_.extract(*key_)) wait.mapped()(false);
  }

 private:
  template <class Handler>
  void begin(Time at, Handler handler) {
    key_ = {std::max(at, clock_.now()), clock_.waits_begun_++};
    if (auto slot = asio::get_associated_cancellation_slot(handler); slot.is_connected())
      slot.assign([this](asio::cancellation_type) { cancel(); });
    clock_.waiting_.emplace(*key_, [handler = std::move(handler)](bool due) mutable {
      auto loop = asio::get_associated_executor(handler);
      asio::post(loop, [handler = std::move(handler), due]() mutable { std::move(handler)(due); });
    });
  }

  VirtualClock& clock_;
  std::optional<VirtualClock::Key> key_;
};

// A wait that is dropped destroys its coroutine, which may come back here.
VirtualClock::~VirtualClock() {
  while (!waiting_.empty()) waiting_.extract(waiting_.begin());
}

std::unique_ptr<Timer> VirtualClock::make_timer() { return std::make_unique<VirtualTimer>(*this); }

void VirtualClock::end_first_wait() {
  auto wait = waiting_.extract(waiting_.begin());
  wait.mapped()(true);
}

bool VirtualClock::jump_to_next() {
  if (waiting_.empty() || waiting_.begin()->first.first == Time::max()) return false;
  now_ = std::max(now_, waiting_.begin()->first.first);
  end_first_wait();
  return true;
}

void VirtualClock::advance(Duration d) {
  auto end = now_ + d;
  while (!waiting_.empty() && waiting_.begin()->first.first <= end) jump_to_next();
  now_ = end;
}

}  // namespace mayfly
