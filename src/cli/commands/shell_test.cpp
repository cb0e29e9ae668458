// `mayfly shell` against a server of its shape, at a terminal that the test types on.
#include <gmock/gmock.h>

#include <deque>

#include "cli/escape.h"
#include "cli/shell_session.h"
#include "cli/test_world.h"
#include "async/scope.h"
#include "async/signal.h"
#include "async/system_timer.h"
#include "net/websocket.h"

namespace mayfly::cli {
namespace {

using testing::HasSubstr;

TEST(Escape, LeavesAtTheBeginningOfALineOnly) {
  auto typed = [](std::vector<std::string> pieces) {
    EscapeFilter filter;
    std::string out;
    for (auto& piece : pieces) out += filter.feed(piece);
    return out + (filter.detached() ? "|left" : "");
  };
  EXPECT_EQ(typed({"~."}), "|left");
  EXPECT_EQ(typed({"~", "."}), "|left");
  EXPECT_EQ(typed({"ls\r~.rm"}), "ls\r|left");
  EXPECT_EQ(typed({"ls ~.\r"}), "ls ~.\r");
  EXPECT_EQ(typed({"~~.\r"}), "~.\r");
  EXPECT_EQ(typed({"~/bin\r"}), "~/bin\r");
  EXPECT_EQ(typed({"cd ~\r", "~", "~.", "\r~."}), "cd ~\r~.\r|left");
  EXPECT_EQ(typed({"~\r~."}), "~\r|left");
}

/// Keys are typed one after the other, each once the test says so or at once.
class TestTerminal final : public Terminal {
 public:
  struct State {
    bool interactive = true;
    std::deque<std::string> keys;      // an empty one is the end of input
    std::string out, err;
    bool was_raw = false, restored = false;
  };
  TestTerminal(Loop loop, State& state) : timers_(make_system_timers(loop)), state_(state) {}
  ~TestTerminal() override { state_.restored = true; }
  bool interactive() const override { return state_.interactive; }
  ShellSize size() const override { return {100, 30}; }
  std::string name() const override { return "vt220"; }
  void raw() override { state_.was_raw = true; }
  Task<std::string> read() override {
    while (state_.keys.empty()) co_await never_.wait(*timers_);
    auto keys = std::move(state_.keys.front());
    state_.keys.pop_front();
    co_return keys;
  }
  Task<Result<void>> write(ShellStream stream, std::string bytes) override {
    (stream == ShellStream::err ? state_.err : state_.out) += bytes;
    co_return Result<void>{};
  }
  Task<void> resized() override {
    co_await never_.wait(*timers_);
  }
  Task<int> interrupted() override {
    co_await never_.wait(*timers_);
    co_return 0;
  }

 private:
  std::unique_ptr<TimerSource> timers_;
  Signal never_;
  State& state_;
};

struct ShellCommand : testing::Test {
  static constexpr auto job = "0192aaaa-0000-7000-8000-000000000001";

  ShellCommand() {
    world.terminal = [this](Loop loop) { return std::make_unique<TestTerminal>(loop, terminal); };
    world.variables["MAYFLY_TOKEN"] = "t";
    router.add("GET", "/builds/{id}", [](http::Request) -> Task<http::Response> { co_return http::problem(Error{Errc::not_found, "no build", ""}); });
    router.add("GET", "/jobs/{id}/shell", [this](http::Request request) -> Task<http::Response> {
      if (refusal) co_return http::problem(*refusal);
      co_return http::websocket_response(std::move(request), [this](http::WebSocket& socket) { return serve(socket); });
    });
    router.add("POST", "/jobs/{id}/release", [this](http::Request) -> Task<http::Response> {
      ++releases;
      co_return http::json_response(202, "{}");
    });
  }

  Task<void> serve(http::WebSocket& socket) {
    auto first = co_await next(socket);
    if (!first) co_return;
    if (auto* o = std::get_if<ShellOpen>(&*first)) open = *o;
    co_await script(socket);
  }
  Task<std::optional<ShellWord>> next(http::WebSocket& socket) {
    auto message = co_await socket.receive();
    if (!message) co_return std::nullopt;
    auto word = shell_word_from({message->text, message->bytes});
    EXPECT_TRUE(word);
    co_return word ? std::optional(*word) : std::nullopt;
  }
  static Task<void> say(http::WebSocket& socket, ShellWord word) {
    auto frame = to_frame(word);
    (void)co_await socket.send({frame.text, frame.bytes});
  }

  int run(std::vector<std::string> arguments) {
    http::testing_support::TestServer server(router);
    world.variables["MAYFLY_SERVER"] = server.url("");
    arguments.insert(arguments.begin(), "shell");
    return world.run(std::move(arguments));
  }

  TestWorld world;
  TestTerminal::State terminal;
  http::Router router;
  std::optional<Error> refusal;
  std::function<Task<void>(http::WebSocket&)> script;
  ShellOpen open;
  int releases = 0;
};

TEST_F(ShellCommand, HandsKeysAndOutputOnAndEndsAsTheShellDoes) {
  terminal.keys = {"exit 7\r"};
  script = [this](http::WebSocket& socket) -> Task<void> {
    co_await say(socket, ShellData{ShellStream::out, "$ "});
    auto typed = co_await next(socket);
    EXPECT_EQ(typed, ShellWord(ShellData{ShellStream::in, "exit 7\r"}));
    co_await say(socket, ShellExit{.code = 7});
  };
  EXPECT_EQ(run({job}), 7);
  EXPECT_EQ(open.wish, (ShellWish{.tty = true, .size = {100, 30}, .term = "vt220"}));
  EXPECT_EQ(terminal.out, "$ ");
  EXPECT_TRUE(terminal.was_raw);
  EXPECT_TRUE(terminal.restored);
}

TEST_F(ShellCommand, WithoutATerminalStreamsAreApartAndTheCommandIsHandedOnAsItIs) {
  terminal.interactive = false;
  terminal.keys = {"some input", ""};
  script = [this](http::WebSocket& socket) -> Task<void> {
    EXPECT_EQ(co_await next(socket), ShellWord(ShellData{ShellStream::in, "some input"}));
    EXPECT_EQ(co_await next(socket), ShellWord(ShellInputEnd{}));
    co_await say(socket, ShellData{ShellStream::out, "o"});
    co_await say(socket, ShellData{ShellStream::err, "e"});
    co_await say(socket, ShellExit{.code = 0});
  };
  EXPECT_EQ(run({job, "--", "sh", "-c", "cat --json", "--server"}), 0);
  EXPECT_EQ(open.wish.command, (std::vector<std::string>{"sh", "-c", "cat --json", "--server"}));
  EXPECT_FALSE(open.wish.tty);
  EXPECT_EQ(terminal.out, "o");
  EXPECT_EQ(terminal.err, "e");
  EXPECT_FALSE(terminal.was_raw);
}

TEST_F(ShellCommand, IsNeverMoreThanAWindowAhead) {
  terminal.interactive = false;
  terminal.keys = {std::string(3 * shell_window_bytes, 'x'), ""};
  std::int64_t received = 0, most = 0;
  script = [&](http::WebSocket& socket) -> Task<void> {
    std::int64_t told = 0;
    for (;;) {
      auto word = co_await next(socket);
      if (!word || std::holds_alternative<ShellInputEnd>(*word)) break;
      received += std::int64_t(std::get<ShellData>(*word).bytes.size());
      most = std::max(most, received - told);
      if (received - told == shell_window_bytes) {
        told = received;
        co_await say(socket, ShellBytesTaken{told});
      }
    }
    co_await say(socket, ShellExit{.code = 0});
  };
  EXPECT_EQ(run({job}), 0);
  EXPECT_EQ(received, 3 * shell_window_bytes);
  EXPECT_EQ(most, shell_window_bytes);
}

TEST_F(ShellCommand, TildeDotLeavesOneThatDoesNotAnswer) {
  terminal.keys = {"\r", "~."};
  script = [this](http::WebSocket& socket) -> Task<void> {
    while (co_await next(socket)) {
    }
  };
  EXPECT_EQ(run({job}), 0);
  EXPECT_THAT(world.err(), HasSubstr("the shell was left"));
}

TEST_F(ShellCommand, AnEndThatIsNotTheShellsOwnIsSaid) {
  script = [](http::WebSocket& socket) -> Task<void> { co_await say(socket, ShellExit{.detail = "the job has ended"}); };
  EXPECT_EQ(run({job}), 255);
  EXPECT_THAT(world.err(), HasSubstr("the shell ended: the job has ended"));
  script = [](http::WebSocket& socket) -> Task<void> {
    socket.close_with({1001, "the server stops"});
    co_return;
  };
  EXPECT_EQ(run({job}), 255);
  EXPECT_THAT(world.err(), HasSubstr("the server stops"));
}

TEST_F(ShellCommand, ARefusalSaysWhy) {
  refusal = Error{Errc::forbidden, "a developer's token may not do this", "ask an owner"};
  EXPECT_EQ(run({job}), 2);
  EXPECT_THAT(world.err(), HasSubstr("a developer's token may not do this"));
  EXPECT_FALSE(terminal.was_raw);
}

TEST_F(ShellCommand, ReleasesAJob) {
  EXPECT_EQ(run({"--release", job}), 0);
  EXPECT_EQ(releases, 1);
}

TEST_F(ShellCommand, HoldsAreWholeMinutesUpToALimit) {
  for (auto wrong : {"0m", "30s", "121m", "soon"}) {
    EXPECT_EQ(world.run({"retry", "web#1", "--hold", wrong}), 2) << wrong;
    EXPECT_THAT(world.err(), HasSubstr("--hold"));
  }
  EXPECT_EQ(world.run({"shell", "--help"}), 0);
  EXPECT_THAT(world.out(), HasSubstr("mayfly shell web#42 test -- cat report.txt"));
}

}  // namespace
}  // namespace mayfly::cli
