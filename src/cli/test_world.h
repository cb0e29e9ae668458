#pragma once
// For tests: a world whose terminal is two strings, and a server that answers as it is told.

#include <atomic>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "base/json.h"
#include "cli/cli.h"
#include "cli/terminal.h"
#include "cli/world.h"
#include "net/sse.h"
#include "net/test_server.h"

namespace mayfly::cli {

class TestConsole final : public Console {
 public:
  void out(std::string_view text) override { out_text += text; }
  void err(std::string_view text) override { err_text += text; }
  bool colour() const override { return is_terminal; }
  bool terminal() const override { return is_terminal; }
  int width() const override { return 80; }
  int height() const override { return 24; }

  std::string out_text;
  std::string err_text;
  bool is_terminal = false;
};

struct TestWorld {
  TestConsole console;
  std::map<std::string, std::string> variables;
  std::string input;
  std::string directory = ".";
  std::function<std::unique_ptr<Terminal>(Loop)> terminal = {};

  int run(std::vector<std::string> arguments, Programs programs = {}) {
    console.out_text.clear();
    console.err_text.clear();
    World world{console,
                [this](std::string_view name) -> std::optional<std::string> {
                  auto it = variables.find(std::string(name));
                  return it == variables.end() ? std::nullopt : std::optional(it->second);
                },
                directory,
                [this](std::string_view, std::size_t max) -> Result<std::string> {
                  if (input.size() > max) return fail(Errc::too_large, "standard input is too long");
                  return input;
                },
                terminal};
    return cli::run(arguments, world, programs);
  }
  const std::string& out() const { return console.out_text; }
  const std::string& err() const { return console.err_text; }
};

/// A server of the API's shape. Handlers run on its thread; fill it before a command runs.
class FakeServer final {
 public:
  /// A fixed JSON answer.
  void answer(std::string_view method, std::string_view pattern, int status, std::string body) {
    router_.add(method, pattern, [this, status, body](http::Request request) -> Task<http::Response> {
      remember(std::move(request));
      co_return http::json_response(status, body);
    });
  }
  void handle(std::string_view method, std::string_view pattern, http::Handler handler) {
    router_.add(method, pattern, [this, handler = std::move(handler)](http::Request request) -> Task<http::Response> {
      remember(request);
      co_return co_await handler(std::move(request));
    });
  }
  std::string start() {
    server_ = std::make_unique<http::testing_support::TestServer>(router_);
    return server_->url("");
  }
  /// What it was asked, in order.
  std::vector<http::Request> requests() {
    std::lock_guard lock(mutex_);
    return requests_;
  }

 private:
  void remember(http::Request request) {
    std::lock_guard lock(mutex_);
    requests_.push_back(std::move(request));
  }

  http::Router router_;
  std::mutex mutex_;
  std::vector<http::Request> requests_;
  std::unique_ptr<http::testing_support::TestServer> server_;
};

}  // namespace mayfly::cli
