#include "net/client.h"

#include <gmock/gmock.h>

#include <atomic>

#include "async/signal.h"
#include "async/system_timer.h"
#include "net/test_server.h"

namespace mayfly::http {
namespace {

using namespace testing_support;
using namespace std::chrono_literals;
using testing::HasSubstr;

Time in(Duration d) { return std::chrono::time_point_cast<Duration>(std::chrono::system_clock::now()) + d; }

/// Answers each connection with the next script, byte for byte, after its request's head has come.
class ScriptedServer final {
 public:
  explicit ScriptedServer(std::vector<std::vector<std::string>> connections) : scripts_(std::move(connections)) {
    fd_ = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    ::bind(fd_, reinterpret_cast<sockaddr*>(&address), size);
    ::listen(fd_, 10);
    ::getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { serve(); });
  }
  ~ScriptedServer() {
    ::shutdown(fd_, SHUT_RDWR);
    thread_.join();
    ::close(fd_);
  }
  std::string url(std::string_view target = "/") const { return "http://127.0.0.1:" + std::to_string(port_) + std::string(target); }
  int requests() const { return requests_; }
  void wait_closed(int connections) const {
    for (int seen = closed_; seen < connections; seen = closed_) closed_.wait(seen);
  }

 private:
  void serve() {
    for (auto& answers : scripts_) {
      int peer = ::accept(fd_, nullptr, nullptr);
      if (peer < 0) return;
      for (auto& answer : answers) {
        if (!read_head(peer)) break;
        ++requests_;
        (void)!::write(peer, answer.data(), answer.size());
      }
      ::close(peer);
      ++closed_;
      closed_.notify_all();
    }
  }
  static bool read_head(int peer) {
    std::string head;
    char c;
    while (!head.ends_with("\r\n\r\n")) {
      if (::read(peer, &c, 1) != 1) return false;
      head += c;
    }
    return true;
  }

  std::vector<std::vector<std::string>> scripts_;
  int fd_;
  int port_;
  std::atomic<int> requests_ = 0;
  std::atomic<int> closed_ = 0;
  std::thread thread_;
};

struct Calls : testing::Test {
  Calls() {
    router.add("GET", "/hello", [](Request r) -> Task<Response> {
      auto response = text_response(200, "hello");
      response.headers.add("X-Host", r.headers.get("Host").value_or("none"));
      co_return response;
    });
    router.add("POST", "/echo", [](Request r) -> Task<Response> {
      auto response = text_response(201, r.body);
      response.headers.add("X-Framing", r.headers.has("Content-Length") ? "length" : "chunked");
      co_return response;
    }, {.max_body_bytes = 10'000'000});
    router.add("GET", "/peer", [](Request r) -> Task<Response> { co_return text_response(200, r.peer); });
    router.add("GET", "/slow", [](Request) -> Task<Response> {
      auto timers = make_system_timers(co_await boost::asio::this_coro::executor);
      Signal never;
      co_await never.wait(*timers);
      co_return text_response(200, "late");
    });
    router.add("GET", "/bytes/{n}", [](Request r) -> Task<Response> { co_return text_response(200, std::string(*r.param<unsigned>("n"), 'b')); });
    router.add("GET", "/stream/{n}", [](Request r) -> Task<Response> {
      auto n = *r.param<int>("n");
      co_return stream_response(200, "text/plain", {.write = [n](BodyWriter& out) -> Task<void> {
                                  for (int i = 0; i < n; ++i)
                                    if (!co_await out.write(std::string(10'000, static_cast<char>('a' + i % 26)))) co_return;
                                }});
    });
  }

  Result<ClientResponse> send(ClientRequest request) { return await(loop, client.send(std::move(request))); }

  Router router;
  boost::asio::io_context loop;
  Client client{loop.get_executor()};
};

TEST_F(Calls, AreAnswered) {
  TestServer server(router);
  auto response = send({.url = server.url("/hello")});
  ASSERT_TRUE(response) << response.error().message;
  EXPECT_TRUE(response->ok());
  EXPECT_EQ(response->body, "hello");
  EXPECT_EQ(response->headers.get("x-host"), server.address());
  auto none = send({.url = server.url("/none")});
  ASSERT_TRUE(none);
  EXPECT_EQ(none->status, 404);
  EXPECT_EQ(error_of(none->status, none->headers, none->body).code, Errc::not_found);
}

TEST_F(Calls, CarryBodiesOfEitherKind) {
  TestServer server(router);
  std::string large(3'000'000, 'x');
  auto text = send({.method = "POST", .url = server.url("/echo"), .body = large});
  ASSERT_TRUE(text) << text.error().message;
  EXPECT_EQ(text->body, large);
  auto writes = [](BodyWriter& out) -> Task<Result<void>> {
    for (int i = 0; i < 1000; ++i) {
      CO_TRY(co_await out.write(std::to_string(i % 10)));
    }
    co_return Result<void>{};
  };
  auto chunked = send({.method = "POST", .url = server.url("/echo"), .body = BodySource{.write = writes}});
  ASSERT_TRUE(chunked) << chunked.error().message;
  EXPECT_EQ(chunked->headers.get("X-Framing"), "chunked");
  EXPECT_EQ(chunked->body.size(), 1000u);
  auto sized = send({.method = "POST", .url = server.url("/echo"), .body = BodySource{.write = writes, .length = 1000}});
  ASSERT_TRUE(sized) << sized.error().message;
  EXPECT_EQ(sized->headers.get("X-Framing"), "length");
  EXPECT_EQ(sized->body, chunked->body);
  for (std::uint64_t wrong : {999, 1001})
    EXPECT_EQ(send({.method = "POST", .url = server.url("/echo"), .body = BodySource{.write = writes, .length = wrong}}).error().code,
              Errc::invalid);
}

TEST_F(Calls, ASourceThatFailsGivesTheRequestUp) {
  TestServer server(router);
  auto fails = [](BodyWriter& out) -> Task<Result<void>> {
    CO_TRY(co_await out.write("half"));
    co_return fail(Errc::corrupt, "the file changed");
  };
  auto response = send({.method = "POST", .url = server.url("/echo"), .body = BodySource{.write = fails}});
  EXPECT_EQ(response.error(), (Error{Errc::corrupt, "the file changed", ""}));
}

TEST_F(Calls, ShareAConnection) {
  TestServer server(router);
  auto first = send({.url = server.url("/peer")});
  auto second = send({.url = server.url("/peer")});
  ASSERT_TRUE(first && second);
  EXPECT_EQ(first->body, second->body);
  EXPECT_EQ(client.idle_connections(), 1u);
  auto both = [&]() -> Task<std::string> {
    auto held = co_await client.open({.url = server.url("/stream/1000")});
    auto other = co_await client.send({.url = server.url("/peer")});
    co_return other->body;
  };
  EXPECT_NE(await(loop, both()), first->body);
}

TEST_F(Calls, OverAUnixSocket) {
  auto path = testing::TempDir() + "mayfly-client-" + std::to_string(::getpid()) + ".sock";
  TestServer server(router, {}, "unix:" + path);
  auto response = send({.url = "unix:" + path + ":/hello"});
  ASSERT_TRUE(response) << response.error().message;
  EXPECT_EQ(response->body, "hello");
  EXPECT_EQ(response->headers.get("X-Host"), "localhost");
  EXPECT_EQ(client.idle_connections(), 1u);
  EXPECT_THAT(send({.url = "unix:" + path + "x:/"}).error().message, HasSubstr(path + "x"));
}

TEST_F(Calls, LookNamesUp) {
  TestServer server(router);
  auto port = server.address().substr(server.address().rfind(':'));
  auto response = send({.url = "http://localhost" + port + "/hello"});
  ASSERT_TRUE(response) << response.error().message;
  EXPECT_EQ(response->body, "hello");
  EXPECT_EQ(send({.url = "http://no-such-host.invalid/", .deadline = in(10s)}).error().code, Errc::unavailable);
}

TEST_F(Calls, ARefusedConnectionNamesItsAddress) {
  std::string gone;
  {
    TestServer server(router);
    gone = server.address();
  }
  auto response = send({.url = "http://" + gone + "/"});
  EXPECT_EQ(response.error().code, Errc::unavailable);
  EXPECT_THAT(response.error().message, HasSubstr(gone));
  EXPECT_THAT(response.error().message, HasSubstr("refused"));
}

TEST_F(Calls, EndAtTheirDeadline) {
  TestServer server(router);
  auto begun = std::chrono::steady_clock::now();
  auto response = send({.url = server.url("/slow"), .deadline = in(80ms)});
  EXPECT_EQ(response.error().code, Errc::timeout) << response.error().message;
  auto took = std::chrono::steady_clock::now() - begun;
  EXPECT_GE(took, 80ms);
  EXPECT_LT(took, 5s);
  EXPECT_EQ(send({.url = server.url("/hello"), .deadline = in(-1s)}).error().code, Errc::timeout);
  EXPECT_TRUE(send({.url = server.url("/hello"), .deadline = in(10s)}));
}

TEST_F(Calls, AConnectThatHangsEndsAtItsTimeout) {
  // A listener with a full backlog answers no more connects.
  int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  ASSERT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(::listen(fd, 0), 0);
  ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  auto text = "127.0.0.1:" + std::to_string(ntohs(address.sin_port));
  RawPeer fills(text);
  Client impatient(loop.get_executor(), {.connect_timeout = 100ms});
  auto response = await(loop, impatient.send({.url = "http://" + text + "/"}));
  EXPECT_EQ(response.error().code, Errc::timeout);
  EXPECT_THAT(response.error().message, HasSubstr(text));
  ::close(fd);
}

TEST_F(Calls, CanBeCanceled) {
  TestServer server(router);
  Scope scope(loop.get_executor());
  bool returned = false;
  auto call = [&]() -> Task<void> {
    co_await client.send({.url = server.url("/slow")});
    returned = true;
  };
  auto cancel = [&]() -> Task<void> {
    auto timers = make_system_timers(loop.get_executor());
    co_await timers->make_timer()->wait_until(in(30ms));
    scope.cancel();
  };
  Scope other(loop.get_executor());
  scope.spawn(call());
  other.spawn(cancel());
  loop.run();
  EXPECT_FALSE(returned);
  EXPECT_EQ(client.idle_connections(), 0u);
}

TEST_F(Calls, AnAnswerAtTheLimitIsTakenAndOneByteMoreIsNot) {
  TestServer server(router);
  EXPECT_EQ(send({.url = server.url("/bytes/1000"), .max_response_bytes = 1000})->body.size(), 1000u);
  EXPECT_EQ(send({.url = server.url("/bytes/1001"), .max_response_bytes = 1000}).error().code, Errc::too_large);
  EXPECT_EQ(send({.url = server.url("/stream/1"), .max_response_bytes = 10'000})->body.size(), 10'000u);
  EXPECT_EQ(send({.url = server.url("/stream/2"), .max_response_bytes = 19'999}).error().code, Errc::too_large);
  auto head = send({.method = "HEAD", .url = server.url("/bytes/5000"), .max_response_bytes = 10});
  ASSERT_TRUE(head) << head.error().message;
  EXPECT_EQ(head->headers.get("Content-Length"), "5000");
  EXPECT_EQ(head->body, "");
}

TEST_F(Calls, AStreamIsReadAsItComes) {
  TestServer server(router);
  auto read = [&]() -> Task<Result<std::size_t>> {
    CO_TRY_ASSIGN(auto stream, co_await client.open({.url = server.url("/stream/500")}));
    EXPECT_EQ(stream->status(), 200);
    EXPECT_EQ(stream->headers().get("content-type"), "text/plain");
    std::size_t total = 0;
    std::array<char, 777> piece;
    while (true) {
      CO_TRY_ASSIGN(auto n, co_await stream->read(piece));
      if (n == 0) co_return total;
      total += n;
    }
  };
  EXPECT_EQ(await(loop, read()), 5'000'000u);
  EXPECT_EQ(client.idle_connections(), 1u);
}

TEST_F(Calls, AStreamLeftBeforeItsEndClosesItsConnection) {
  TestServer server(router);
  auto leave = [&]() -> Task<int> {
    auto stream = co_await client.open({.url = server.url("/stream/1000000")});
    std::array<char, 10> piece;
    co_await (*stream)->read(piece);
    co_return 0;
  };
  await(loop, leave());
  EXPECT_EQ(client.idle_connections(), 0u);
  auto limit = std::chrono::steady_clock::now() + 5s;
  while (server.connections() > 0 && std::chrono::steady_clock::now() < limit) std::this_thread::sleep_for(1ms);
  EXPECT_EQ(server.connections(), 0u);
}

TEST_F(Calls, AWatchSetsADeadlineForEachRead) {
  TestServer server(router);
  auto read = [&]() -> Task<Result<std::size_t>> {
    CO_TRY_ASSIGN(auto stream, co_await client.open({.url = server.url("/stream/100"), .deadline = in(30ms)}));
    stream->set_deadline(in(10s));
    auto timers = make_system_timers(loop.get_executor());
    co_await timers->make_timer()->wait_until(in(60ms));
    std::array<char, 10> piece;
    co_return co_await stream->read(piece);
  };
  EXPECT_EQ(await(loop, read()), 10u);
}

const std::string kOk = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

TEST_F(Calls, AConnectionThatDiedIdleIsReplacedUnseen) {
  ScriptedServer server({{kOk}, {kOk}});
  EXPECT_TRUE(send({.url = server.url()}));
  server.wait_closed(1);
  auto again = send({.method = "POST", .url = server.url(), .body = "x"});
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(server.requests(), 2);
}

TEST_F(Calls, OneThatDiesUnderTheRequestIsRetriedOnlyIfThatIsSafe) {
  // The second answer is empty: the connection ends after the request was read, without a byte.
  for (auto [method, expected] : {std::pair{"GET", 3}, {"POST", 2}}) {
    ScriptedServer server({{kOk, ""}, {kOk}});
    EXPECT_TRUE(send({.url = server.url()}));
    auto second = send({.method = method, .url = server.url()});
    EXPECT_EQ(second.has_value(), expected == 3) << method;
    if (!second) EXPECT_EQ(second.error().code, Errc::unavailable);
    EXPECT_EQ(server.requests(), expected) << method;
  }
}

TEST_F(Calls, AFreshConnectionThatDiesIsNotRetried) {
  ScriptedServer server({{""}, {kOk}});
  EXPECT_EQ(send({.url = server.url()}).error().code, Errc::unavailable);
  EXPECT_EQ(server.requests(), 1);
}

TEST_F(Calls, AnAnswerCutShortIsAnError) {
  for (std::string answer : {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
                             "HTTP/1.1 200 OK\r\nConte"}) {
    ScriptedServer server({{answer}});
    auto response = send({.url = server.url()});
    ASSERT_FALSE(response) << answer;
    EXPECT_EQ(response.error().code, Errc::unavailable) << answer;
  }
}

TEST_F(Calls, AnAnswerThatIsNotHttpIsAnError) {
  for (std::string answer : {"SSH-2.0-OpenSSH\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
                             "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"}) {
    ScriptedServer server({{answer}});
    auto response = send({.url = server.url()});
    ASSERT_FALSE(response) << answer;
    EXPECT_EQ(response.error().code, Errc::invalid) << answer;
  }
}

TEST_F(Calls, InterimAnswersAndAnswersUpToTheEndAreRead) {
  ScriptedServer server({{"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\nto the end"}});
  auto response = send({.url = server.url()});
  ASSERT_TRUE(response) << response.error().message;
  EXPECT_EQ(response->body, "to the end");
  EXPECT_FALSE(response->headers.has("Link"));
  EXPECT_EQ(client.idle_connections(), 0u);
  std::string hints;
  for (int i = 0; i < 1000; ++i) hints += "HTTP/1.1 103 Early Hints\r\n\r\n";
  ScriptedServer endless({{hints}});
  EXPECT_EQ(send({.url = endless.url()}).error().code, Errc::invalid);
}

TEST_F(Calls, AConnectionWithBytesLeftOnItIsNotUsedAgain) {
  ScriptedServer server({{kOk + "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"}, {kOk}});
  EXPECT_EQ(send({.url = server.url()})->body, "ok");
  EXPECT_EQ(client.idle_connections(), 0u);
  EXPECT_EQ(send({.url = server.url()})->body, "ok");
}

TEST_F(Calls, AServerThatRefusesABodyIsHeardBeforeItIsAllSent) {
  router.add("POST", "/small", [](Request) -> Task<Response> { co_return empty_response(); }, {.max_body_bytes = 10});
  TestServer server(router);
  auto endless = [](BodyWriter& out) -> Task<Result<void>> {
    for (int i = 0; i < 100'000; ++i) {
      CO_TRY(co_await out.write(std::string(10'000, 'x')));
    }
    co_return Result<void>{};
  };
  auto response = send({.method = "POST", .url = server.url("/small"), .body = BodySource{.write = endless}, .deadline = in(20s)});
  ASSERT_TRUE(response) << response.error().message;
  EXPECT_EQ(response->status, 413);
  EXPECT_EQ(client.idle_connections(), 0u);
}

TEST_F(Calls, OldAndSurplusIdleConnectionsAreDropped) {
  TestServer server(router);
  Client small(loop.get_executor(), {.max_idle_per_endpoint = 1, .idle_timeout = 30ms});
  auto both = [&]() -> Task<int> {
    auto a = co_await small.open({.url = server.url("/bytes/1")});
    auto b = co_await small.open({.url = server.url("/bytes/1")});
    std::array<char, 10> piece;
    co_await (*a)->read(piece);
    co_await (*b)->read(piece);
    co_return 0;
  };
  await(loop, both());
  EXPECT_EQ(small.idle_connections(), 1u);
  auto peer = [&] { return await(loop, small.send({.url = server.url("/peer")}))->body; };
  auto first = peer();
  EXPECT_EQ(peer(), first);
  std::this_thread::sleep_for(40ms);
  EXPECT_NE(peer(), first);
}

TEST_F(Calls, WhatWouldBreakTheRequestsFramingIsRefused) {
  EXPECT_EQ(send({.method = "GET / HTTP/1.1\r\nX:", .url = "http://127.0.0.1:1/"}).error().code, Errc::invalid);
  for (auto [name, value] : {std::pair{"X", "a\r\nY: b"}, {"X", "a\nb"}, {"X\r\nY", "a"}, {"", "a"}, {"X:", "a"}}) {
    ClientRequest request{.url = "http://127.0.0.1:1/"};
    request.headers.add(name, value);
    EXPECT_EQ(send(request).error().code, Errc::invalid);
  }
  EXPECT_EQ(send({.url = "http://127.0.0.1:1/ HTTP/1.1"}).error().code, Errc::invalid);
}

TEST(ClientUpgrade, BothSidesSpeakFreelyAfterwards) {
  // What the server says at once travels behind its head.
  ScriptedServer server({{"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nearly ", "heard\r\n\r\n"}});
  boost::asio::io_context loop;
  Client client(loop.get_executor());
  auto talk = [&]() -> Task<std::string> {
    auto upgraded = co_await client.upgrade({.method = "POST", .url = server.url("/attach"), .deadline = in(10s)}, "tcp");
    if (!upgraded || !upgraded->tunnel) co_return "no tunnel";
    std::string heard;
    std::array<char, 100> piece;
    (void)co_await upgraded->tunnel->write("are you there?\r\n\r\n");
    while (true) {
      auto n = co_await upgraded->tunnel->read(piece);
      if (!n) co_return n.error().message;
      if (*n == 0) co_return heard;
      heard.append(piece.data(), *n);
    }
  };
  EXPECT_EQ(await(loop, talk()), "early heard\r\n\r\n");
}

TEST(ClientUpgrade, ARefusalIsAnAnswer) {
  ScriptedServer server({{"HTTP/1.1 404 Not Found\r\nContent-Length: 12\r\n\r\nno container"}});
  boost::asio::io_context loop;
  Client client(loop.get_executor());
  auto upgraded = await(loop, client.upgrade({.method = "POST", .url = server.url(), .deadline = in(10s)}, "tcp"));
  ASSERT_TRUE(upgraded);
  EXPECT_EQ(upgraded->tunnel, nullptr);
  EXPECT_EQ(upgraded->answer.status, 404);
  EXPECT_EQ(upgraded->answer.body, "no container");
}

TEST(ClientUpgrade, AProtocolsNameIsOneWord) {
  boost::asio::io_context loop;
  Client client(loop.get_executor());
  auto upgraded = await(loop, client.upgrade({.url = "http://127.0.0.1:1/"}, "tcp\r\nHost: other"));
  ASSERT_FALSE(upgraded);
  EXPECT_EQ(upgraded.error().code, Errc::invalid);
}

TEST(ClientUpgrade, ASilentTunnelEndsAtItsDeadline) {
  ScriptedServer server({{"HTTP/1.1 101 UPGRADED\r\n\r\n", "never"}});
  boost::asio::io_context loop;
  Client client(loop.get_executor());
  auto wait = [&]() -> Task<Errc> {
    auto upgraded = co_await client.upgrade({.url = server.url(), .deadline = in(10s)}, "tcp");
    if (!upgraded || !upgraded->tunnel) co_return Errc::internal;
    upgraded->tunnel->set_deadline(in(20ms));
    std::array<char, 10> piece;
    auto n = co_await upgraded->tunnel->read(piece);
    co_return n ? Errc::internal : n.error().code;
  };
  EXPECT_EQ(await(loop, wait()), Errc::timeout);
}

}  // namespace
}  // namespace mayfly::http
