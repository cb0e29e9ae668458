#include "net/server.h"

#include <sys/resource.h>

#include <algorithm>
#include <boost/asio/this_coro.hpp>
#include <boost/system/system_error.hpp>
#include <list>

#include "async/scope.h"
#include "async/signal.h"
#include "async/system_timer.h"
#include "base/log.h"
#include "net/connection.h"

namespace mayfly::http {
namespace {

namespace asio = boost::asio;

Time now() { return std::chrono::time_point_cast<Duration>(std::chrono::system_clock::now()); }

/// RFC 9110 §5.6.7: "Sun, 06 Nov 1994 08:49:37 GMT".
std::string http_date(Time at) {
  auto seconds = std::chrono::system_clock::to_time_t(at);
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  constexpr const char* kDays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  constexpr const char* kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  std::array<char, 64> text;
  auto n = std::snprintf(text.data(), text.size(), "%s, %02d %s %04d %02d:%02d:%02d GMT", kDays[parts.tm_wday], parts.tm_mday,
                         kMonths[parts.tm_mon], parts.tm_year + 1900, parts.tm_hour, parts.tm_min, parts.tm_sec);
  return {text.data(), static_cast<std::size_t>(n)};
}

constexpr std::size_t kTurnedAwayAtOnce = 64;  // past max_connections: told so; past these: just closed

/// How often connections are looked at: no timeout is late by more than a quarter.
Duration tick_of(const ServerOptions& options) {
  auto shortest = std::min({options.idle_timeout, options.header_timeout, options.body_stall_timeout, options.write_timeout});
  return std::clamp<Duration>(shortest / 4, std::chrono::milliseconds(5), std::chrono::milliseconds(250));
}

/// Connections leave half of the process's descriptors to everybody else.
ServerOptions within_descriptors(ServerOptions options) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0)
    options.max_connections = std::min<std::size_t>(options.max_connections, limit.rlim_cur / 2);
  return options;
}

}  // namespace

struct Server::Impl {
  Impl(Loop loop_, const Router& router, ServerOptions options_)
      : options(within_descriptors(std::move(options_))),
        state{std::move(loop_), router, options, http_date(now()), false},
        timers(make_system_timers(state.loop)),
        accepting(state.loop),
        serving(state.loop) {}

  Task<void> accept_from(Listener& listener);
  Task<void> serve(std::unique_ptr<Stream> stream);
  Task<void> watch();
  bool make_room();
  void end_overdue();

  ServerOptions options;
  ServerState state;
  std::unique_ptr<TimerSource> timers;
  std::shared_ptr<TlsContext> tls;
  std::vector<std::unique_ptr<Listener>> listeners;
  std::list<Connection*> connections;
  Signal changed;
  Time drain_until = Time::max();
  Scope accepting;
  Scope serving;
};

Server::Server(Loop loop, const Router& router, ServerOptions options)
    : impl_(std::make_unique<Impl>(std::move(loop), router, std::move(options))) {}

Server::~Server() = default;

Result<std::string> Server::listen(std::string_view address) {
  if (impl_->options.tls && !impl_->tls) {
    TRY_ASSIGN(impl_->tls, make_server_tls(*impl_->options.tls));
  }
  TRY_ASSIGN(auto listener, listen_on(impl_->state.loop, address, impl_->tls));
  impl_->listeners.push_back(std::move(listener));
  return impl_->listeners.back()->address();
}

Task<void> Server::serve() {
  for (auto& listener : impl_->listeners) impl_->accepting.spawn(impl_->accept_from(*listener));
  std::exception_ptr canceled;
  try {
    co_await impl_->watch();
  } catch (...) {
    canceled = std::current_exception();
  }
  for (auto scope : {&impl_->accepting, &impl_->serving}) {
    scope->cancel();
    co_await asio::this_coro::throw_if_cancelled(false);
    try {
      co_await scope->join();
    } catch (const boost::system::system_error&) {
      canceled = std::current_exception();
    }
  }
  if (canceled) std::rethrow_exception(canceled);
}

void Server::stop() {
  if (std::exchange(impl_->state.draining, true)) return;
  impl_->drain_until = now() + impl_->options.drain_timeout;
  for (auto& listener : impl_->listeners) listener->close();
  for (auto connection : impl_->connections) connection->drain();
  impl_->changed.notify();
}

std::size_t Server::connections() const { return impl_->connections.size(); }

Task<void> Server::Impl::accept_from(Listener& listener) {
  constexpr std::chrono::milliseconds kPause{50};
  while (!state.draining) {
    auto stream = co_await listener.accept();
    if (stream) {
      serving.spawn(serve(*std::move(stream)));
    } else if (stream.error().code == Errc::rate_limited) {
      log_warn("cannot accept connections", {{"error", stream.error().message}});
      auto pause = timers->make_timer();
      co_await pause->wait_until(now() + kPause);
    } else {
      co_return;
    }
  }
}

Task<void> Server::Impl::serve(std::unique_ptr<Stream> stream) {
  if (connections.size() >= options.max_connections + kTurnedAwayAtOnce) co_return;
  bool room = make_room();
  Connection connection(state, std::move(stream));
  struct Entry {
    Impl& server;
    std::list<Connection*>::iterator at;
    ~Entry() {
      server.connections.erase(at);
      if (server.state.draining) server.changed.notify();
    }
  } entry{*this, connections.insert(connections.end(), &connection)};
  if (room) co_await connection.run();
  else co_await connection.turn_away();
}

/// Ends the connection that has been idle longest if there are too many. False if none is idle.
bool Server::Impl::make_room() {
  if (connections.size() < options.max_connections) return true;
  Connection* longest = nullptr;
  for (auto connection : connections)
    if (connection->is_idle() && (!longest || connection->deadline() < longest->deadline())) longest = connection;
  if (longest) longest->give_up();
  return longest != nullptr;
}

void Server::Impl::end_overdue() {
  auto at = Connection::Clock::now();
  for (auto connection : connections)
    if (connection->is_overdue(at)) connection->give_up();
}

/// Returns once stopped and empty, or late.
Task<void> Server::Impl::watch() {
  auto tick = tick_of(options);
  while (!state.draining || (!connections.empty() && now() < drain_until)) {
    co_await changed.wait(*timers, std::min(now() + tick, drain_until));
    state.date = http_date(now());
    end_overdue();
  }
}

}  // namespace mayfly::http
