#include "app/local.h"

#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <csignal>
#include <cstdio>

#include "app/server.h"
#include "async/scope.h"
#include "base/log.h"

namespace mayfly {
namespace {

class Embedded final : public cli::LocalServer {
 public:
  explicit Embedded(EmbeddedServer& server) : server_(server) {}
  std::string url() const override { return server_.base_url(); }
  std::string token() const override { return server_.token(); }
  Task<Result<std::string>> build(cli::LocalBuild wanted) override { return server_.build_once(cli::local_project, std::move(wanted)); }
  Signal& interrupted() override { return interrupted_; }

 private:
  EmbeddedServer& server_;
  Signal interrupted_;
};

}  // namespace

int with_local_server(cli::LocalOptions options, std::function<Task<int>(Loop, cli::LocalServer&)> use) {
  set_log_level(Level::error);
  std::signal(SIGPIPE, SIG_IGN);
  boost::asio::io_context loop(1);
  auto server = EmbeddedServer::open(loop.get_executor(), {.data_dir = options.data_dir, .listen = "127.0.0.1:0", .slots = options.slots});
  if (!server) {
    std::fprintf(stderr, "mayfly: %s\n  %s\n", server.error().message.c_str(), server.error().hint.c_str());
    return cli::said_no;
  }
  Embedded embedded(**server);
  boost::asio::signal_set signals(loop, SIGINT, SIGTERM);
  signals.async_wait([&](boost::system::error_code ec, int) {
    if (ec) return;
    embedded.interrupted().notify();
    signals.async_wait([](boost::system::error_code again, int number) {
      if (!again) ::_exit(128 + number);
    });
  });
  int exit_code = cli::said_no;
  auto client = [&]() -> Task<void> {
    exit_code = co_await use(loop.get_executor(), embedded);
    (*server)->stop();
    signals.cancel();
  };
  Scope scope(loop.get_executor());
  scope.spawn((*server)->run());
  scope.spawn(client());
  loop.run();
  return exit_code;
}

}  // namespace mayfly
