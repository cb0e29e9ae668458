#pragma once
// The coroutine type of ports and roles. Sockets, timers and spawning stay behind scope.h, signal.h and the adapters, so
// that the simulator can run the same coroutines on its own loop and clock.

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>

namespace mayfly {

using Loop = boost::asio::any_io_executor;  // where coroutines run: one thread a loop

template <class T = void>
using Task = boost::asio::awaitable<T>;

}  // namespace mayfly
