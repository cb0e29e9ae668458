#include "app/process.h"

#include <sys/resource.h>

#include <boost/asio/signal_set.hpp>
#include <csignal>
#include <cstdio>

#include "async/scope.h"
#include "base/log.h"

namespace mayfly {
namespace {

Level level_from(const std::string& name) {
  if (name == "debug") return Level::debug;
  if (name == "warn") return Level::warn;
  if (name == "error") return Level::error;
  return Level::info;
}

/// A connection a viewer: the default of 1024 descriptors would be the limit.
void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  (void)::setrlimit(RLIMIT_NOFILE, &limit);
}

Task<void> serve_then_quiet(Task<void> serve, boost::asio::signal_set& signals) {
  co_await std::move(serve);
  signals.cancel();
}

}  // namespace

void prepare_process(const std::string& log_level) {
  set_log_level(level_from(log_level));
  std::signal(SIGPIPE, SIG_IGN);
  raise_descriptor_limit();
}

void complain(const Error& error) {
  std::fprintf(stderr, "mayfly: %s\n", error.message.c_str());
  if (!error.hint.empty()) std::fprintf(stderr, "  %s\n", error.hint.c_str());
}

void run_until_stopped(boost::asio::io_context& loop, Task<void> serve, std::function<void()> stop) {
  boost::asio::signal_set signals(loop, SIGINT, SIGTERM);
  signals.async_wait([&](boost::system::error_code ec, int) {
    if (!ec) stop();
  });
  Scope scope(loop.get_executor());
  scope.spawn(serve_then_quiet(std::move(serve), signals));
  // Not until the loop has nothing left: it watches runners, and they go on without us.
  while (scope.size() > 0) loop.run_one();
}

}  // namespace mayfly
