// One node of the log path as a process that a test may kill: `log_node gateway` serves an intake and live logs over HTTP and says
// where, `log_node aggregator` says that it runs.

#include <boost/asio/io_context.hpp>
#include <cstdio>
#include <cstring>

#include "async/scope.h"
#include "base/log.h"
#include "logs/log_servers.h"
#include "net/server.h"
#include "roles/logs/bus_intake.h"
#include "roles/logs/live_logs.h"
#include "roles/logs/log_aggregator.h"

namespace mayfly::log_test {
namespace {

constexpr std::size_t max_piece = 1 << 20;

void say(const std::string& line) {
  std::printf("%s\n", line.c_str());
  std::fflush(stdout);
}

http::Response answer(const Result<LogsAnswer>& answer) {
  return answer ? http::json_response(200, to_json(*answer)) : http::problem(answer.error());
}

void gateway(boost::asio::io_context& io) {
  Loop loop = io.get_executor();
  Servers servers(loop);
  BusIntake intake(*servers.db, *servers.bus, *servers.cache, servers.clock, loop);
  LiveLogs live(*servers.db, *servers.blobs, *servers.cache, servers.clock, loop);
  http::Router router;
  router.add("POST", "/append/{id}", [&](http::Request r) -> Task<http::Response> {
    co_return answer(co_await intake.append(*r.param<AttemptId>("id"), std::move(r.body)));
  }, {.max_body_bytes = max_log_request_bytes});
  router.add("POST", "/complete/{id}", [&](http::Request r) -> Task<http::Response> {
    auto end = co_await intake.complete(*r.param<AttemptId>("id"), **r.query_param<std::int64_t>("bytes"));
    co_return end ? http::json_response(200, to_json(LogsAnswer{end->bytes, end->bytes})) : http::problem(end.error());
  });
  router.add("GET", "/follow/{id}", [&](http::Request r) -> Task<http::Response> {
    auto attempt = *r.param<AttemptId>("id");
    auto from = **r.query_param<std::int64_t>("from");
    (void)co_await live.wait_beyond(attempt, from, servers.clock.now() + std::chrono::milliseconds(500));
    auto text = co_await live.read(attempt, from, max_piece);
    co_return text ? http::text_response(200, *std::move(text), "application/octet-stream") : http::problem(text.error());
  });
  http::Server server(loop, router);
  auto address = server.listen("127.0.0.1:0").value();
  Scope scope(loop);
  scope.spawn(intake.run());
  scope.spawn(live.run());
  scope.spawn(server.serve());
  say("http://" + address);
  io.run();
}

void aggregator(boost::asio::io_context& io) {
  Loop loop = io.get_executor();
  Servers servers(loop);
  LogAggregator aggregator(*servers.db, *servers.blobs, *servers.bus, *servers.cache, servers.clock, loop);
  Scope scope(loop);
  scope.spawn(aggregator.run());
  say("running");
  io.run();
}

}  // namespace
}  // namespace mayfly::log_test

int main(int argc, char** argv) {
  boost::asio::io_context io(1);
  mayfly::set_log_level(mayfly::Level::error);
  if (argc == 2 && std::strcmp(argv[1], "gateway") == 0) mayfly::log_test::gateway(io);
  if (argc == 2 && std::strcmp(argv[1], "aggregator") == 0) mayfly::log_test::aggregator(io);
  return 2;
}
