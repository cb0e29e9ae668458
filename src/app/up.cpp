#include "app/up.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <csignal>
#include <cstdio>
#include <sys/resource.h>
#include <unistd.h>

#include "app/server.h"
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

Task<void> serve(EmbeddedServer& server, boost::asio::signal_set& signals) {
  co_await server.run();
  signals.cancel();
}

}  // namespace

int run_up(UpOptions options) {
  set_log_level(level_from(options.log_level));
  std::signal(SIGPIPE, SIG_IGN);
  raise_descriptor_limit();
  boost::asio::io_context loop(1);
  auto server = EmbeddedServer::open(loop.get_executor(), {options.data_dir, options.listen, options.slots, options.image_directories, options.allowed_networks});
  if (!server) {
    auto& error = server.error();
    std::fprintf(stderr, "mayfly: %s\n", error.message.c_str());
    if (!error.hint.empty()) std::fprintf(stderr, "  %s\n", error.hint.c_str());
    return 1;
  }
  boost::asio::signal_set signals(loop, SIGINT, SIGTERM);
  signals.async_wait([&](boost::system::error_code ec, int) {
    if (!ec) (*server)->stop();
  });
  if (isatty(STDERR_FILENO)) std::fprintf(stderr, "Mayfly is at %s (data in %s)\n", (*server)->base_url().c_str(), options.data_dir.c_str());
  log_info("ready", {{"url", (*server)->base_url()}, {"data", options.data_dir}});
  Scope scope(loop.get_executor());
  scope.spawn(serve(**server, signals));
  // Not until the loop has nothing left: it watches runners, and they go on without us.
  while (scope.size() > 0) loop.run_one();
  return 0;
}

}  // namespace mayfly
