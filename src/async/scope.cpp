#include "async/scope.h"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cassert>
#include <cstdlib>
#include <list>
#include <utility>

#include "base/log.h"

namespace mayfly {

namespace asio = boost::asio;

struct Scope::State {
  Loop loop;
  struct Child {
    asio::cancellation_signal signal;
    bool started = false;
  };
  std::list<Child> children;
  asio::steady_timer empty;  // never expires: cancelled when the last child ends
  bool canceled = false;

  explicit State(Loop l) : loop(std::move(l)), empty(loop, asio::steady_timer::time_point::max()) {}

  /// co_spawn's own awaits, before a child's first and after its last, throw past everybody when the child is canceled just
  /// then: no cancellation is delivered before the child runs, and none counts after it ended.
  static Task<void> run(std::shared_ptr<State> state, std::list<Child>::iterator self, Task<void> child) {
    self->started = true;
    std::exception_ptr failure;
    if (!state->canceled) {
      try {
        co_await std::move(child);
      } catch (...) {
        failure = std::current_exception();
      }
    }
    co_await asio::this_coro::throw_if_cancelled(false);
    if (failure) std::rethrow_exception(failure);
  }
};

namespace {

void check_end(std::exception_ptr failure) {
  if (!failure) return;
  try {
    std::rethrow_exception(failure);
  } catch (const boost::system::system_error& e) {
    if (e.code() == asio::error::operation_aborted) return;
    log_error("a task ended with an exception", {{"what", e.what()}});
  } catch (const std::exception& e) {
    log_error("a task ended with an exception", {{"what", e.what()}});
  }
  std::abort();
}

}  // namespace

Scope::Scope(Loop loop) : state_(std::make_shared<State>(std::move(loop))) {}

Scope::~Scope() { assert(state_->children.empty() && "a scope must be joined before it goes"); }

void Scope::spawn(Task<void> child) {
  if (state_->canceled) return;
  auto self = state_->children.emplace(state_->children.end());
  auto ended = [state = state_, self](std::exception_ptr failure) {
    state->children.erase(self);
    if (state->children.empty()) state->empty.cancel();
    check_end(failure);
  };
  asio::co_spawn(state_->loop, State::run(state_, self, std::move(child)),
                 asio::bind_cancellation_slot(self->signal.slot(), std::move(ended)));
}

void Scope::cancel() {
  auto state = state_;
  if (std::exchange(state->canceled, true)) return;
  // A child may end, and leave the list, while its signal is emitted.
  for (auto it = state->children.begin(); it != state->children.end();) {
    auto child = it++;
    if (child->started) child->signal.emit(asio::cancellation_type::terminal);
  }
}

Task<void> Scope::join() {
  auto state = state_;
  auto canceled = [](asio::cancellation_state at) { return at.cancelled() != asio::cancellation_type::none; };
  co_await asio::this_coro::throw_if_cancelled(false);
  while (!state->children.empty()) {
    boost::system::error_code ignored;
    co_await state->empty.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    if (canceled(co_await asio::this_coro::cancellation_state)) cancel();
  }
  co_await asio::this_coro::throw_if_cancelled(true);
  co_await throw_if_canceled();
}

Task<void> throw_if_canceled() {
  auto state = co_await asio::this_coro::cancellation_state;
  if (state.cancelled() != asio::cancellation_type::none)
    throw boost::system::system_error(asio::error::operation_aborted);
}

std::size_t Scope::size() const { return state_->children.size(); }

}  // namespace mayfly
