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

}  // namespace
}  // namespace mayfly::http
