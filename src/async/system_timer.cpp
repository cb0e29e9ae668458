#include "async/system_timer.h"

#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "async/scope.h"

namespace mayfly {

namespace asio = boost::asio;

namespace {

class SystemTimer final : public Timer {
 public:
  explicit SystemTimer(Loop loop) : timer_(std::move(loop)) {}

  Task<bool> wait_until(Time at) override {
    using namespace std::chrono;
    // Wall-clock steps must not stretch a wait: the distance is taken once and then measured on the steady clock.
    auto never = at == Time::max();
    timer_.expires_at(never ? asio::steady_timer::time_point::max() : steady_clock::now() + (at - system_clock::now()));
    boost::system::error_code ec;
    co_await timer_.async_wait(asio::redirect_error(asio::use_awaitable, ec));
    co_await throw_if_canceled();
    co_return !ec;
  }
  void cancel() override { timer_.cancel(); }

 private:
  asio::steady_timer timer_;
};

class SystemTimers final : public TimerSource {
 public:
  explicit SystemTimers(Loop loop) : loop_(std::move(loop)) {}
  std::unique_ptr<Timer> make_timer() override { return std::make_unique<SystemTimer>(loop_); }

 private:
  Loop loop_;
};

}  // namespace

std::unique_ptr<TimerSource> make_system_timers(Loop loop) { return std::make_unique<SystemTimers>(std::move(loop)); }

}  // namespace mayfly
