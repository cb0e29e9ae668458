#include "net/websocket.h"

#include <gmock/gmock.h>

#include <boost/asio/this_coro.hpp>

#include "async/system_timer.h"
#include "net/client.h"
#include "net/test_server.h"

namespace mayfly::http {
namespace {

using namespace testing_support;
using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::StartsWith;

Task<void> echo(WebSocket& socket) {
  for (;;) {
    auto message = co_await socket.receive();
    if (!message) co_return;
    if (message->bytes == "enough") co_return socket.close_with({4001, "as you wish"});
    (void)co_await socket.send(*std::move(message));
  }
}

struct WebSockets : testing::Test {
  WebSockets() {
    options.max_message_bytes = 1000;
    options.idle_timeout = 400ms;
    options.close_timeout = 300ms;
    router.add("GET", "/echo", [this](Request r) -> Task<Response> { co_return websocket_response(std::move(r), echo, options); });
    router.add("GET", "/no", [](Request) -> Task<Response> { co_return problem(Error{Errc::forbidden, "not for you", "ask"}); });
    router.add("GET", "/first", [this](Request r) -> Task<Response> {
      co_return websocket_response(std::move(r), [this](WebSocket& socket) { return tell(socket); }, options);
    });
  }

  /// Sends one message and keeps what the next receive() says.
  Task<void> tell(WebSocket& socket) {
    auto got = co_await socket.receive();
    server_error.set_value(got ? Errc::internal : got.error().code);
  }

  Result<void> use(TestServer& server, std::string_view target, WebSocketUse with, WebSocketOptions how = {}) {
    boost::asio::io_context loop;
    Client client(loop.get_executor());
    return await(loop, client.websocket({.url = server.url(target)}, std::move(with), how));
  }

  /// The bytes of a handshake a browser would send, and of what follows it.
  std::string ask(TestServer& server, std::string_view target, std::string_view frames) {
    RawPeer peer(server.address());
    peer.send("GET " + std::string(target) + " HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
              "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n" + std::string(frames));
    return peer.receive_all();
  }

  Router router;
  WebSocketOptions options;
  std::promise<Errc> server_error;
};

/// A client's frame, masked with zeros.
std::string frame(unsigned char first, std::string_view payload) {
  std::string out(1, static_cast<char>(first));
  if (payload.size() < 126) {
    out += static_cast<char>(0x80 | payload.size());
  } else {
    out += static_cast<char>(0x80 | 126);
    out += static_cast<char>(payload.size() >> 8);
    out += static_cast<char>(payload.size() & 0xff);
  }
  return out + std::string(4, '\0') + std::string(payload);
}

TEST_F(WebSockets, MessagesGoBothWaysAsTheyAre) {
  TestServer server(router);
  std::vector<WebSocketMessage> sent{{true, "gr\xC3\xBC\xC3\x9F dich"}, {false, std::string("\0\xff\r\n", 4)}, {false, ""}, {true, std::string(1000, 'x')}}, got;
  std::optional<WebSocketClose> goodbye;
  auto used = use(server, "/echo", [&](WebSocket& socket) -> Task<void> {
    for (auto& message : sent) {
      EXPECT_TRUE(co_await socket.send(message));
      auto back = co_await socket.receive();
      if (!back) co_return;
      got.push_back(*std::move(back));
    }
    EXPECT_TRUE(co_await socket.send({true, "enough"}));
    auto end = co_await socket.receive();
    EXPECT_FALSE(end);
    goodbye = socket.closed();
  });
  EXPECT_TRUE(used);
  EXPECT_EQ(got, sent);
  EXPECT_EQ(goodbye, (WebSocketClose{4001, "as you wish"}));
}

TEST_F(WebSockets, ARefusalSaysWhy) {
  TestServer server(router);
  auto never = [](WebSocket&) -> Task<void> {
    ADD_FAILURE() << "there is no socket";
    co_return;
  };
  EXPECT_EQ(use(server, "/no", never).error(), (Error{Errc::forbidden, "not for you", "ask"}));
  EXPECT_EQ(use(server, "/nothing", never).error().code, Errc::not_found);
}

TEST_F(WebSockets, WithoutAnUpgradeItIs426AndTheConnectionLives) {
  TestServer server(router);
  RawPeer peer(server.address());
  peer.send("GET /echo HTTP/1.1\r\nHost: x\r\n\r\nGET /no HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  auto answers = peer.receive_all();
  EXPECT_THAT(answers, StartsWith("HTTP/1.1 426 "));
  EXPECT_THAT(answers, HasSubstr("Upgrade: websocket\r\n"));
  EXPECT_THAT(answers, HasSubstr("HTTP/1.1 403 "));
}

TEST_F(WebSockets, TheHandshakeIsTheStandardsExample) {
  TestServer server(router);
  auto answer = ask(server, "/echo", frame(0x88, std::string("\x03\xe8", 2)));
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 101 "));
  EXPECT_THAT(answer, HasSubstr("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
  EXPECT_THAT(answer, testing::EndsWith(std::string("\x88\x02\x03\xe8", 4))) << "the goodbye is answered";
}

TEST_F(WebSockets, FramesBehindTheHeadAndInPiecesAreMessages) {
  TestServer server(router);
  auto answer = ask(server, "/echo", frame(0x01, "gr") + frame(0x89, "are you there") + frame(0x80, "eat") + frame(0x81, "enough"));
  EXPECT_THAT(answer, HasSubstr("\x8a\x0d" "are you there"));
  EXPECT_THAT(answer, HasSubstr("\x81\x05" "great"));
}

TEST_F(WebSockets, WhatIsNoWebSocketEndsWithTheCodeForIt) {
  TestServer server(router);
  auto code = [](int c) { return std::string("\x03", 1) + static_cast<char>(c & 0xff); };
  std::string unmasked("\x81\x02hi", 4), reserved = frame(0xc1, "x"), unknown = frame(0x83, "x"), lone = frame(0x80, "x");
  std::string long_ping = frame(0x89, std::string(126, 'x')), cut_ping = frame(0x09, "x"), bad_text = frame(0x81, "\xff\xfe"), bad_close = frame(0x88, "x");
  for (auto& bytes : {unmasked, reserved, unknown, lone, long_ping, cut_ping, bad_close}) EXPECT_THAT(ask(server, "/echo", bytes), HasSubstr(code(1002)));
  EXPECT_THAT(ask(server, "/echo", bad_text), HasSubstr(code(1007)));
}

TEST_F(WebSockets, AMessageMayBeAsLongAsTheLimitAndNoLonger) {
  TestServer server(router);
  auto at = ask(server, "/echo", frame(0x82, std::string(1000, 'x')) + frame(0x81, "enough"));
  EXPECT_THAT(at, HasSubstr(std::string("\x82\x7e\x03\xe8", 4) + std::string(1000, 'x')));
  auto over = ask(server, "/first", frame(0x82, std::string(1001, 'x')));
  EXPECT_THAT(over, HasSubstr("\x03\xf1"));
  EXPECT_EQ(server_error.get_future().get(), Errc::too_large);
  auto in_pieces = ask(server, "/echo", frame(0x02, std::string(600, 'x')) + frame(0x80, std::string(401, 'x')));
  EXPECT_THAT(in_pieces, HasSubstr("\x03\xf1"));
}

TEST_F(WebSockets, ASilentPeerIsPingedAndThenGone) {
  TestServer server(router);
  auto began = std::chrono::steady_clock::now();
  auto answer = ask(server, "/first", "");
  EXPECT_THAT(answer, HasSubstr(std::string("\x89\x00", 2))) << "a ping";
  EXPECT_EQ(server_error.get_future().get(), Errc::timeout);
  EXPECT_GE(std::chrono::steady_clock::now() - began, 400ms);
}

TEST_F(WebSockets, APeerThatAnswersPingsMayBeSilent) {
  TestServer server(router);
  auto used = use(server, "/echo", [&](WebSocket& socket) -> Task<void> {
    Scope listening(server.loop().get_executor());
    std::optional<Result<WebSocketMessage>> got;
    auto timers = make_system_timers((co_await boost::asio::this_coro::executor));
    auto pause = timers->make_timer();
    co_await pause->wait_until(std::chrono::time_point_cast<Duration>(std::chrono::system_clock::now()) + 1200ms);
    EXPECT_TRUE(co_await socket.send({true, "still here"}));
    auto back = co_await socket.receive();
    EXPECT_TRUE(back && back->bytes == "still here");
  });
  EXPECT_TRUE(used);
}

TEST_F(WebSockets, AReaderThatStopsHoldsTheSenderAndNotTheServer) {
  options.max_message_bytes = 64 * 1024;
  options.max_queued_bytes = 64 * 1024;
  options.idle_timeout = 20s;
  std::atomic<std::size_t> sent = 0;
  std::promise<void> ended;
  router.add("GET", "/flood", [&](Request r) -> Task<Response> {
    co_return websocket_response(std::move(r), [&](WebSocket& socket) -> Task<void> {
      while (co_await socket.send({false, std::string(32 * 1024, 'x')})) ++sent;
      ended.set_value();
    }, options);
  });
  TestServer server(router);
  {
    RawPeer peer(server.address());
    peer.send("GET /flood HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
    std::size_t before = ~std::size_t(0);
    while (before != sent) {   // until the system's own buffers are full too
      before = sent;
      std::this_thread::sleep_for(200ms);
    }
    EXPECT_LT(sent, 64 * 1024 * 1024 / (32 * 1024));
    EXPECT_EQ(server.connections(), 1u);
  }
  ended.get_future().wait();
}

TEST_F(WebSockets, AServerThatStopsSaysSo) {
  auto server = std::make_unique<TestServer>(router);
  std::optional<WebSocketClose> goodbye;
  auto used = use(*server, "/echo", [&](WebSocket& socket) -> Task<void> {
    (void)co_await socket.send({true, "x"});
    (void)co_await socket.receive();
    server->stop();
    EXPECT_FALSE(co_await socket.receive());
    goodbye = socket.closed();
  });
  EXPECT_TRUE(used);
  ASSERT_TRUE(goodbye);
  EXPECT_EQ(goodbye->code, 1001);
  server->wait_stopped();
}

TEST_F(WebSockets, ACanceledReceiveLosesNothing) {
  TestServer server(router);
  auto used = use(server, "/echo", [&](WebSocket& socket) -> Task<void> {
    Loop loop = co_await boost::asio::this_coro::executor;
    for (int i = 0; i < 20; ++i) {
      Scope scope(loop);
      auto listen = [](WebSocket& s) -> Task<void> {
        auto got = co_await s.receive();
        ADD_FAILURE() << "nothing was sent, and " << (got ? got->bytes : got.error().message) << " came";
      };
      scope.spawn(listen(socket));
      auto timers = make_system_timers(loop);
      auto pause = timers->make_timer();
      co_await pause->wait_until(std::chrono::time_point_cast<Duration>(std::chrono::system_clock::now()) + 1ms);
      scope.cancel();
      co_await scope.join();
      EXPECT_TRUE(co_await socket.send({true, std::to_string(i)}));
      auto back = co_await socket.receive();
      EXPECT_TRUE(back && back->bytes == std::to_string(i));
    }
  });
  EXPECT_TRUE(used);
}

TEST_F(WebSockets, WorkOverUnixSockets) {
  auto path = std::string("/tmp/mayfly-websocket-") + std::to_string(::getpid());
  TestServer server(router, {}, "unix:" + path);
  std::string got;
  auto used = use(server, "/echo", [&](WebSocket& socket) -> Task<void> {
    (void)co_await socket.send({true, "hello"});
    auto back = co_await socket.receive();
    if (back) got = back->bytes;
  });
  EXPECT_TRUE(used);
  EXPECT_EQ(got, "hello");
}

}  // namespace
}  // namespace mayfly::http
