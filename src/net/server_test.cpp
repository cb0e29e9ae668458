#include "net/server.h"

#include <gmock/gmock.h>

#include "async/signal.h"
#include "async/system_timer.h"
#include "net/client.h"
#include "net/test_server.h"

namespace mayfly::http {
namespace {

using namespace testing_support;
using namespace std::chrono_literals;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

/// A server with a handful of routes that show what arrived.
struct Served : testing::Test {
  Served() {
    router.add("GET", "/hello", [](Request) -> Task<Response> { co_return text_response(200, "hello"); });
    router.add("GET", "/who", [](Request r) -> Task<Response> { co_return text_response(200, r.peer); });
    router.add("POST", "/echo", [](Request r) -> Task<Response> { co_return text_response(200, r.body); }, {.max_body_bytes = 100});
    router.add("GET", "/show/{name}", [](Request r) -> Task<Response> {
      auto name = r.param("name");
      co_return text_response(200, *name + "|" + r.path + "|" + build_query(r.query));
    });
    router.add("GET", "/throw", [](Request) -> Task<Response> {
      throw std::runtime_error("the secret detail");
      co_return Response{};
    });
    router.add("GET", "/chunks", [](Request) -> Task<Response> {
      co_return stream_response(200, "text/plain", {.write = [](BodyWriter& out) -> Task<void> {
                                  co_await out.write("one ");
                                  co_await out.write("");
                                  co_await out.write("two");
                                }});
    });
    router.add_stream("PUT", "/sum", [](Request, BodyReader& body) -> Task<Response> {
      std::uint64_t total = 0;
      std::array<char, 1000> piece;
      while (true) {
        auto n = co_await body.read(piece);
        if (!n) co_return problem(n.error());
        if (*n == 0) co_return text_response(200, std::to_string(total));
        total += *n;
      }
    }, {.max_body_bytes = 1'000'000});
  }

  std::string ask(TestServer& server, std::string_view request) {
    RawPeer peer(server.address());
    peer.send(request);
    peer.end_writing();
    return peer.receive_all();
  }

  Router router;
};

TEST_F(Served, ARequestGetsItsAnswer) {
  TestServer server(router);
  auto answer = ask(server, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200 OK\r\nDate: "));
  EXPECT_THAT(answer, HasSubstr("Content-Length: 5\r\n"));
  EXPECT_THAT(answer, EndsWith("\r\n\r\nhello"));
}

TEST_F(Served, OneConnectionServesManyRequestsAlsoPipelined) {
  TestServer server(router);
  RawPeer peer(server.address());
  std::string many;
  for (int i = 0; i < 100; ++i) many += "GET /show/" + std::to_string(i) + " HTTP/1.1\r\nHost: x\r\n\r\n";
  peer.send(many);
  for (int i = 0; i < 100; ++i) EXPECT_THAT(peer.receive_response(), HasSubstr("\r\n\r\n" + std::to_string(i) + "|"));
  peer.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcGET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(peer.receive_response(), EndsWith("\r\n\r\nabc"));
  EXPECT_THAT(peer.receive_response(), EndsWith("\r\n\r\nhello"));
}

TEST_F(Served, PathAndQueryArriveDecoded) {
  TestServer server(router);
  EXPECT_THAT(ask(server, "GET /show/a%2Fb%20c?x=1&y=%26+z HTTP/1.1\r\nHost: x\r\n\r\n"),
              EndsWith("\r\n\r\na/b c|/show/a/b c|x=1&y=%26%20z"));
  EXPECT_THAT(ask(server, "GET http://elsewhere/show/abs?q HTTP/1.1\r\nHost: x\r\n\r\n"), EndsWith("\r\n\r\nabs|/show/abs|q="));
}

TEST_F(Served, HeadIsGetWithoutTheBody) {
  TestServer server(router);
  RawPeer peer(server.address());
  peer.send("HEAD /hello HTTP/1.1\r\nHost: x\r\n\r\nHEAD /chunks HTTP/1.1\r\nHost: x\r\n\r\nGET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
  auto head = peer.receive_until("\r\n\r\n");
  EXPECT_THAT(head, HasSubstr("Content-Length: 5\r\n"));
  EXPECT_THAT(peer.receive_until("\r\n\r\n"), HasSubstr("Transfer-Encoding: chunked\r\n"));
  EXPECT_THAT(peer.receive_response(), EndsWith("hello"));
  peer.send("HEAD /chunks HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(peer.receive_until("\r\n\r\n"), HasSubstr("Connection: keep-alive\r\n"));
  EXPECT_THAT(peer.receive_response(), EndsWith("hello"));
}

TEST_F(Served, AStreamedAnswerIsChunkedFor11AndEndsTheConnectionFor10) {
  TestServer server(router);
  EXPECT_THAT(ask(server, "GET /chunks HTTP/1.1\r\nHost: x\r\n\r\n"), EndsWith("\r\n\r\n4\r\none \r\n3\r\ntwo\r\n0\r\n\r\n"));
  auto old = ask(server, "GET /chunks HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  EXPECT_THAT(old, EndsWith("\r\n\r\none two"));
  EXPECT_THAT(old, HasSubstr("Connection: close\r\n"));
  EXPECT_THAT(old, Not(HasSubstr("Transfer-Encoding")));
}

TEST_F(Served, TheConnectionStaysAsLongAsBothWant) {
  TestServer server(router);
  {
    RawPeer peer(server.address());
    peer.send("GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    EXPECT_THAT(peer.receive_all(), HasSubstr("Connection: close\r\n"));
  }
  {
    RawPeer peer(server.address());
    peer.send("GET /hello HTTP/1.0\r\n\r\n");
    EXPECT_THAT(peer.receive_all(), EndsWith("hello"));
  }
  RawPeer peer(server.address());
  peer.send("GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  EXPECT_THAT(peer.receive_response(), HasSubstr("Connection: keep-alive\r\n"));
  peer.send("GET /hello HTTP/1.0\r\n\r\n");
  EXPECT_THAT(peer.receive_all(), EndsWith("hello"));
}

TEST_F(Served, APeerThatHasFinishedSpeakingStillHearsTheAnswer) {
  TestServer server(router);
  RawPeer peer(server.address());
  peer.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nok");
  peer.end_writing();
  EXPECT_THAT(peer.receive_all(), EndsWith("\r\n\r\nok"));
}

TEST_F(Served, BodiesArriveWhateverTheirFramingAndSplit) {
  TestServer server(router);
  std::string chunked =
      "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3;ext=\"1\"\r\nabc\r\n00A\r\n0123456789\r\n0\r\nTrailer: "
      "t\r\n\r\n";
  RawPeer peer(server.address());
  for (char c : chunked) peer.send({&c, 1});
  EXPECT_THAT(peer.receive_response(), EndsWith("\r\n\r\nabc0123456789"));
  peer.send(chunked);
  EXPECT_THAT(peer.receive_response(), EndsWith("\r\n\r\nabc0123456789"));
}

TEST_F(Served, AStreamedBodyReachesItsHandlerPieceByPiece) {
  TestServer server(router);
  RawPeer peer(server.address());
  peer.send("PUT /sum HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n");
  for (int i = 0; i < 100; ++i) peer.send(std::string(10'000, 'x'));
  EXPECT_THAT(peer.receive_response(), EndsWith("\r\n\r\n1000000"));
}

TEST_F(Served, ContinueIsSaidOnlyWhenTheBodyIsWanted) {
  TestServer server(router);
  RawPeer wanted(server.address());
  wanted.send("POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
  EXPECT_EQ(wanted.receive_until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  wanted.send("body");
  EXPECT_THAT(wanted.receive_response(), EndsWith("\r\n\r\nbody"));
  RawPeer unwanted(server.address());
  unwanted.send("POST /none HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
  EXPECT_THAT(unwanted.receive_response(), StartsWith("HTTP/1.1 404"));
  RawPeer large(server.address());
  large.send("POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 101\r\n\r\n");
  EXPECT_THAT(large.receive_response(), StartsWith("HTTP/1.1 413"));
}

TEST_F(Served, AnExceptionIs500AndTheConnectionSurvives) {
  TestServer server(router);
  RawPeer peer(server.address());
  peer.send("GET /throw HTTP/1.1\r\nHost: x\r\n\r\n");
  auto answer = peer.receive_response();
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 500 "));
  EXPECT_THAT(answer, HasSubstr("application/problem+json"));
  EXPECT_THAT(answer, Not(HasSubstr("secret")));
  peer.send("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(peer.receive_response(), EndsWith("hello"));
}

TEST_F(Served, HandlersCannotBreakTheFraming) {
  router.add("GET", "/inject", [](Request) -> Task<Response> {
    auto response = text_response(200, "x");
    response.headers.add("X-A", "1\r\nX-Evil: 2\x01\x7f");
    response.headers.add("Content-Length", "9");
    response.headers.add("transfer-encoding", "chunked");
    co_return response;
  });
  router.add("GET", "/status", [](Request) -> Task<Response> { co_return empty_response(99); });
  router.add("GET", "/nothing", [](Request) -> Task<Response> { co_return Response{.status = 204, .body = "ignored"}; });
  TestServer server(router);
  RawPeer peer(server.address());
  peer.send("GET /inject HTTP/1.1\r\nHost: x\r\n\r\n");
  auto answer = peer.receive_response();
  EXPECT_THAT(answer, HasSubstr("X-A: 1  X-Evil: 2  \r\n"));
  EXPECT_THAT(answer, EndsWith("Content-Length: 1\r\n\r\nx"));
  EXPECT_THAT(answer, Not(HasSubstr("hunked")));
  peer.send("GET /status HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(peer.receive_response(), StartsWith("HTTP/1.1 500 "));
  peer.send("GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n");
  auto nothing = peer.receive_response();
  EXPECT_THAT(nothing, StartsWith("HTTP/1.1 204 "));
  EXPECT_THAT(nothing, Not(HasSubstr("Content-Length")));
  peer.send("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(peer.receive_response(), EndsWith("hello"));
}

TEST_F(Served, AnAnnouncedLengthIsKeptOrTheConnectionBreaks) {
  auto serve = [this](std::string path, std::string text) {
    router.add("GET", path, [text](Request) -> Task<Response> {
      co_return stream_response(200, "text/plain", {.write = [text](BodyWriter& out) -> Task<void> {
                                                      auto written = co_await out.write(text);
                                                      if (!written) EXPECT_EQ(written.error().code, Errc::invalid);
                                                    },
                                                    .length = 5});
    });
  };
  serve("/exact", "12345");
  serve("/short", "1234");
  serve("/long", "123456");
  TestServer server(router);
  RawPeer peer(server.address());
  peer.send("GET /exact HTTP/1.1\r\nHost: x\r\n\r\nGET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(peer.receive_response(), EndsWith("\r\n\r\n12345"));
  EXPECT_THAT(peer.receive_response(), EndsWith("hello"));
  EXPECT_THAT(ask(server, "GET /short HTTP/1.1\r\nHost: x\r\n\r\nGET /hello HTTP/1.1\r\nHost: x\r\n\r\n"), EndsWith("\r\n\r\n1234"));
  EXPECT_THAT(ask(server, "GET /long HTTP/1.1\r\nHost: x\r\n\r\n"), EndsWith("\r\n\r\n"));
}

TEST_F(Served, ABodyThatThrowsIsSeenToBeCutShort) {
  router.add("GET", "/half", [](Request) -> Task<Response> {
    co_return stream_response(200, "text/plain", {.write = [](BodyWriter& out) -> Task<void> {
                                co_await out.write("half");
                                throw std::runtime_error("disk gone");
                              }});
  });
  TestServer server(router);
  EXPECT_THAT(ask(server, "GET /half HTTP/1.1\r\nHost: x\r\n\r\n"), EndsWith("\r\n\r\n4\r\nhalf\r\n"));
}

TEST_F(Served, UnixSocketsAndIPv6Work) {
  auto path = testing::TempDir() + "mayfly-net-" + std::to_string(::getpid()) + ".sock";
  {
    TestServer server(router, {}, "unix:" + path);
    EXPECT_EQ(server.address(), "unix:" + path);
    EXPECT_THAT(ask(server, "GET /who HTTP/1.1\r\nHost: x\r\n\r\n"), EndsWith("\r\n\r\nunix"));
    boost::asio::io_context loop;
    Server second(loop.get_executor(), router);
    EXPECT_EQ(second.listen("unix:" + path).error().code, Errc::conflict);
  }
  EXPECT_NE(::access(path.c_str(), F_OK), 0);
  TestServer server(router, {}, "[::1]:0");
  boost::asio::io_context loop;
  Client client(loop.get_executor());
  auto response = await(loop, client.send({.url = server.url("/who")}));
  ASSERT_TRUE(response) << response.error().message;
  EXPECT_THAT(response->body, StartsWith("[::1]:"));
}

TEST_F(Served, ASocketFileLeftByADeadServerIsReplaced) {
  auto path = testing::TempDir() + "mayfly-net-dead-" + std::to_string(::getpid()) + ".sock";
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
  ASSERT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ::close(fd);
  TestServer server(router, {}, "unix:" + path);
  EXPECT_THAT(ask(server, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"), EndsWith("hello"));
}

TEST(Listening, NeedsAnAddressThatIsFree) {
  boost::asio::io_context loop;
  Router router;
  Server server(loop.get_executor(), router), second(loop.get_executor(), router);
  for (auto address : {"", "8080", "host.example:80", "127.0.0.1:", "127.0.0.1:99999", "127.0.0.1:80x", "unix:", "[::1:80"})
    EXPECT_EQ(server.listen(address).error().code, Errc::invalid) << address;
  EXPECT_EQ(server.listen("unix:/" + std::string(200, 'x')).error().code, Errc::invalid);
  auto bound = server.listen("127.0.0.1:0");
  ASSERT_TRUE(bound);
  EXPECT_EQ(second.listen(*bound).error().code, Errc::conflict);
}

/// A handler that waits until the test lets it go.
struct Held : testing::Test {
  Held() {
    router.add("GET", "/held", [this](Request) -> Task<Response> {
      auto timers = make_system_timers(co_await boost::asio::this_coro::executor);
      entered.set_value();
      co_await release.wait(*timers);
      co_return text_response(200, "finished");
    });
  }
  Router router;
  Signal release;
  std::promise<void> entered;
};

TEST_F(Held, ADrainFinishesWhatRunsAndTakesNothingNew) {
  TestServer server(router);
  RawPeer busy(server.address()), idle(server.address());
  busy.send("GET /held HTTP/1.1\r\nHost: x\r\n\r\nGET /held HTTP/1.1\r\nHost: x\r\n\r\n");
  entered.get_future().wait();
  server.stop();
  EXPECT_TRUE(idle.ended());
  EXPECT_THROW(RawPeer{server.address()}, std::runtime_error);
  server.on_loop([this] { release.notify(); });
  auto answers = busy.receive_all();
  EXPECT_THAT(answers, HasSubstr("Connection: close\r\n"));
  EXPECT_THAT(answers, EndsWith("finished"));  // the second, pipelined one is not begun
  busy.close();
  server.wait_stopped();
}

TEST_F(Held, ADrainEndsAtItsDeadline) {
  TestServer server(router, {.drain_timeout = 50ms});
  RawPeer busy(server.address());
  busy.send("GET /held HTTP/1.1\r\nHost: x\r\n\r\n");
  entered.get_future().wait();
  server.stop();
  EXPECT_TRUE(busy.ended());
  server.wait_stopped();
}

TEST_F(Held, CancelingServeCancelsItsHandlers) {
  auto server = std::make_unique<TestServer>(router);
  RawPeer busy(server->address());
  busy.send("GET /held HTTP/1.1\r\nHost: x\r\n\r\n");
  entered.get_future().wait();
  server.reset();
  EXPECT_TRUE(busy.ended());
}

}  // namespace
}  // namespace mayfly::http
