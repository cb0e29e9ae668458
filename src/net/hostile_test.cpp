// What peers do that mean harm, or are broken: limits at and one past, malformed and ambiguous messages, peers that stall.
#include <gmock/gmock.h>
#include <sys/resource.h>

#include <atomic>
#include <list>

#include "net/server.h"
#include "net/test_server.h"

namespace mayfly::http {
namespace {

using namespace testing_support;
using namespace std::chrono_literals;
using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

struct Hostile : testing::Test {
  Hostile() {
    router.add("GET", "/", [this](Request) -> Task<Response> {
      ++handled;
      co_return text_response(200, "root");
    });
    router.add("POST", "/echo", [this](Request r) -> Task<Response> {
      ++handled;
      co_return text_response(200, r.body);
    }, {.max_body_bytes = 100});
    router.add_stream("POST", "/stream", [this](Request, BodyReader& body) -> Task<Response> {
      auto all = co_await read_all(body);
      if (!all) stream_error.set_value(all.error().code);
      co_return all ? text_response(200, std::to_string(all->size())) : problem(all.error());
    }, {.max_body_bytes = 100'000});
    router.add("GET", "/big", [](Request) -> Task<Response> { co_return text_response(200, std::string(64 * 1024 * 1024, 'x')); });
  }

  std::string ask(TestServer& server, std::string_view request) {
    RawPeer peer(server.address());
    peer.send(request);
    peer.end_writing();
    return peer.receive_all();
  }

  Router router;
  std::atomic<int> handled = 0;
  std::promise<Errc> stream_error;
};

TEST_F(Hostile, WhatIsNotHttpIs400AndTheEnd) {
  TestServer server(router);
  for (std::string_view bytes : {
           "hello\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/2.0\r\nHost: x\r\n\r\n", "GET / HTTP/1.1\r\nHost x\r\n\r\n",
           "GET / HTTP/1.1\r\nHost : x\r\n\r\n", "GET / HTTP/1.1\r\n Host: x\r\n\r\n", "GET / HTTP/1.1\nHost: x\n\n\r\n\r\n",
           "GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n",
           "GET /?a=%0 HTTP/1.1\r\nHost: x\r\n\r\n", "GET /%00 HTTP/1.1\r\nHost: x\r\n\r\n",
           "GET foo HTTP/1.1\r\nHost: x\r\n\r\n", "G\x01T / HTTP/1.1\r\nHost: x\r\n\r\n", "\x16\x03\x01\x02\x05\x01\xfc\x03\r\n\r\n",
           "GET / HTTP/1.1\r\nHost: x\r\nX: a\x01z\r\n\r\n", "GET / HTTP/1.1\r\nHost: x\r\nConnection: @\r\n\r\n"}) {
    auto answer = ask(server, bytes);
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 400 ")) << bytes;
    EXPECT_THAT(answer, HasSubstr("Connection: close\r\n")) << bytes;
    EXPECT_THAT(answer, HasSubstr("\"code\":\"invalid\"")) << bytes;
  }
  EXPECT_EQ(handled, 0);
}

/// Two readers must not be able to disagree about where a message ends.
TEST_F(Hostile, AmbiguousFramingIsRefusedAndWhatFollowsIsNeverARequest) {
  TestServer server(router);
  const std::string smuggled = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
  for (std::string headers : {
           "Content-Length: 5\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 5",
           "Content-Length: 5\r\nContent-Length: 6", "Content-Length: 5, 6", "Content-Length: +5", "Content-Length: -5",
           "Content-Length: 0x5", "Content-Length: 5 5", "Content-Length:", "Content-Length: 18446744073709551616",
           "Content-Length: 5;", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked, chunked",
           "Transfer-Encoding: gzip, chunked", "Transfer-Encoding: xchunked", "Transfer-Encoding: chunked, identity",
           "Transfer-Encoding: identity", "Transfer-Encoding: \"chunked\"", "Transfer-Encoding:\r\nTransfer-Encoding: chunked",
           "Transfer-Encoding: chun\r\n ked", "Transfer-Encoding : chunked", "X: y\rTransfer-Encoding: chunked"}) {
    auto answer = ask(server, "POST /echo HTTP/1.1\r\nHost: x\r\n" + headers + "\r\n\r\n0\r\n\r\n" + smuggled);
    EXPECT_THAT(answer, testing::AnyOf(StartsWith("HTTP/1.1 400 "), StartsWith("HTTP/1.1 501 "))) << headers << "\n" << answer;
    EXPECT_EQ(answer.find("HTTP/1.1", 1), std::string::npos) << headers << "\n" << answer;
  }
  EXPECT_THAT(ask(server, "POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled), StartsWith("HTTP/1.1 400 "));
  EXPECT_EQ(handled, 0);
}

TEST_F(Hostile, BrokenChunksAre400) {
  TestServer server(router);
  for (std::string body : {"x\r\n", "-1\r\n", "\r\n", "0x1\r\na\r\n0\r\n\r\n", "1\r\nab\r\n0\r\n\r\n", "1\na\r\n0\r\n\r\n",
                           "ffffffffffffffff1\r\na", "10000000000000000\r\na", "1 \r\r\na\r\n0\r\n\r\n", "1;\x01\r\na\r\n0\r\n\r\n",
                           "1\r\na\r\n0\r\nBad Trailer: x\r\n\r\n", "1\r\na\r\n0\r\nContent-Length: 3\r\n\r\n", "2\r\na"}) {
    auto answer = ask(server, "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + body);
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 400 ")) << body;
    EXPECT_EQ(answer.find("HTTP/1.1", 1), std::string::npos) << answer;
  }
  EXPECT_EQ(handled, 0);
}

TEST_F(Hostile, ChunkHeadersAndTrailersHaveALimit) {
  TestServer server(router, {.max_header_bytes = 4096});
  auto endless = "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;" + std::string(100'000, 'e');
  EXPECT_THAT(ask(server, endless), StartsWith("HTTP/1.1 400 "));
  auto trailers = "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nT: " + std::string(100'000, 'e');
  EXPECT_THAT(ask(server, trailers), StartsWith("HTTP/1.1 400 "));
}

std::string head_of_size(std::size_t bytes) {
  std::string head = "GET / HTTP/1.1\r\nHost: x\r\nX: ";
  return head + std::string(bytes - head.size() - 4, 'x') + "\r\n\r\n";
}

TEST_F(Hostile, AHeadAtTheLimitIsServedAndOneByteMoreIsNot) {
  for (std::size_t limit : {1000, 4096, 65536}) {
    TestServer server(router, {.max_header_bytes = limit});
    EXPECT_THAT(ask(server, head_of_size(limit)), StartsWith("HTTP/1.1 200 ")) << limit;
    EXPECT_THAT(ask(server, head_of_size(limit + 1)), StartsWith("HTTP/1.1 431 ")) << limit;
    EXPECT_THAT(ask(server, std::string(limit * 3, 'G')), testing::AnyOf(StartsWith("HTTP/1.1 431 "), StartsWith("HTTP/1.1 400 ")));
  }
}

TEST_F(Hostile, AQueryHasALimit) {
  TestServer server(router);
  auto get = [](std::size_t pairs) {
    std::string query;
    for (std::size_t i = 0; i < pairs; ++i) query += "a&";
    return "GET /?" + query + " HTTP/1.1\r\nHost: x\r\n\r\n";
  };
  EXPECT_THAT(ask(server, get(kMaxQueryPairs)), StartsWith("HTTP/1.1 200 "));
  EXPECT_THAT(ask(server, get(kMaxQueryPairs + 1)), StartsWith("HTTP/1.1 414 "));
}

TEST_F(Hostile, AHeadSentLineByLineHasTheSameLimit) {
  TestServer server(router, {.max_header_bytes = 4096});
  RawPeer peer(server.address());
  // Far enough apart that the server reads them one by one.
  for (int line = 0; line < 50; ++line, std::this_thread::sleep_for(1ms))
    peer.send(line == 0 ? "GET / HTTP/1.1\r\n" : "X-Filler: " + std::string(90, 'x') + "\r\n");
  EXPECT_THAT(peer.receive_all(), StartsWith("HTTP/1.1 431 "));
}

TEST_F(Hostile, ABodyAtItsLimitIsTakenAndOneByteMoreIs413) {
  TestServer server(router);
  auto post = [](std::size_t n) {
    return "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: " + std::to_string(n) + "\r\n\r\n" + std::string(n, 'b');
  };
  auto chunked = [](std::size_t n) {
    return "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n32\r\n" + std::string(50, 'b') + "\r\n" +
           (n == 100 ? "32\r\n" : "33\r\n") + std::string(n - 50, 'b') + "\r\n0\r\n\r\n";
  };
  EXPECT_THAT(ask(server, post(100)), EndsWith(std::string(100, 'b')));
  EXPECT_THAT(ask(server, chunked(100)), EndsWith(std::string(100, 'b')));
  EXPECT_THAT(ask(server, post(101)), StartsWith("HTTP/1.1 413 "));
  EXPECT_THAT(ask(server, chunked(101)), StartsWith("HTTP/1.1 413 "));
  EXPECT_EQ(handled, 2);
}

TEST_F(Hostile, The413IsHeardByAPeerThatSendsOnRegardless) {
  TestServer server(router);
  RawPeer peer(server.address());
  peer.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 700000\r\n\r\n");
  EXPECT_TRUE(peer.send(std::string(700'000, 'b')));
  peer.end_writing();
  auto answer = peer.receive_all();
  EXPECT_FALSE(peer.was_reset());
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 413 "));
  EXPECT_THAT(answer, HasSubstr("larger than 100 bytes"));
}

TEST_F(Hostile, AnEndlessUnwantedBodyIsNotReadForEver) {
  TestServer server(router);
  RawPeer peer(server.address());
  peer.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000000\r\n\r\n");
  std::size_t sent = 0;
  while (sent < 100'000'000 && peer.send(std::string(100'000, 'b'))) sent += 100'000;
  EXPECT_LT(sent, 100'000'000u);
}

TEST_F(Hostile, AStreamedBodyHasItsLimitToo) {
  TestServer server(router);
  auto chunk = "186a0\r\n" + std::string(100'000, 's') + "\r\n";
  std::string head = "POST /stream HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
  EXPECT_THAT(ask(server, head + chunk + "0\r\n\r\n"), EndsWith("\r\n\r\n100000"));
  EXPECT_THAT(ask(server, head + chunk + "1\r\ns\r\n0\r\n\r\n"), StartsWith("HTTP/1.1 413 "));
}

TEST_F(Hostile, ASlowHeadIsCutOff) {
  TestServer server(router, {.header_timeout = 100ms});
  RawPeer peer(server.address());
  auto begun = std::chrono::steady_clock::now();
  peer.send("GET / HTTP/1.1\r\n");
  while (std::chrono::steady_clock::now() - begun < 5s && peer.send("X: y\r\n")) std::this_thread::sleep_for(10ms);
  EXPECT_TRUE(peer.ended());
  auto took = std::chrono::steady_clock::now() - begun;
  EXPECT_GE(took, 100ms);
  EXPECT_LT(took, 4s);
  EXPECT_EQ(handled, 0);
}

TEST_F(Hostile, AnIdleConnectionIsClosed) {
  TestServer server(router, {.idle_timeout = 60ms});
  RawPeer peer(server.address());
  peer.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(peer.receive_response(), EndsWith("root"));
  EXPECT_TRUE(peer.ended());
}

TEST_F(Hostile, ABodyThatStallsIsGivenUp) {
  TestServer server(router, {.body_stall_timeout = 60ms});
  RawPeer peer(server.address());
  peer.send("POST /stream HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc");
  EXPECT_EQ(stream_error.get_future().get(), Errc::timeout);
  EXPECT_TRUE(peer.ended());
}

TEST_F(Hostile, ABodyCutOffIsNoRequest) {
  TestServer server(router);
  EXPECT_THAT(ask(server, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nabc"), StartsWith("HTTP/1.1 400 "));
  EXPECT_EQ(handled, 0);
}

TEST_F(Hostile, AReaderThatDoesNotReadIsGivenUp) {
  TestServer server(router, {.write_timeout = 100ms});
  RawPeer peer(server.address());
  peer.send("GET /big HTTP/1.1\r\nHost: x\r\n\r\n");
  peer.receive_until("\r\n\r\n");
  auto limit = std::chrono::steady_clock::now() + 10s;
  while (server.connections() > 0 && std::chrono::steady_clock::now() < limit) std::this_thread::sleep_for(10ms);
  EXPECT_EQ(server.connections(), 0u);
}

TEST_F(Hostile, ManyConnectionsMakeTheIdlestGo) {
  TestServer server(router, {.max_connections = 3});
  std::list<RawPeer> peers;
  for (int i = 0; i < 3; ++i) {
    peers.emplace_back(server.address()).send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_THAT(peers.back().receive_response(), EndsWith("root"));
  }
  peers.front().send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");  // now the second is the idlest
  EXPECT_THAT(peers.front().receive_response(), EndsWith("root"));
  RawPeer fourth(server.address());
  fourth.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(fourth.receive_response(), EndsWith("root"));
  EXPECT_TRUE(std::next(peers.begin())->ended());
  peers.front().send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(peers.front().receive_response(), EndsWith("root"));
}

TEST_F(Hostile, ConnectionsLeaveHalfOfTheDescriptors) {
  rlimit usual{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &usual), 0);
  rlimit low{40, usual.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &low), 0);
  TestServer server(router);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &usual), 0);
  std::list<RawPeer> peers;
  for (int i = 0; i < 21; ++i) {
    peers.emplace_back(server.address()).send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_THAT(peers.back().receive_response(), EndsWith("root"));
  }
  EXPECT_TRUE(peers.front().ended());
  EXPECT_EQ(server.connections(), 20u);
}

TEST_F(Hostile, WhenAllConnectionsAreBusyANewOneIsTurnedAway) {
  TestServer server(router, {.max_connections = 1});
  RawPeer busy(server.address());
  busy.send("GET / HTTP/1.1\r\nHo");
  auto limit = std::chrono::steady_clock::now() + 5s;
  while (server.connections() == 0 && std::chrono::steady_clock::now() < limit) std::this_thread::sleep_for(1ms);
  std::string answer = ask(server, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 503 "));
  EXPECT_THAT(answer, HasSubstr("Retry-After: 1\r\n"));
  busy.send("st: x\r\n\r\n");
  EXPECT_THAT(busy.receive_response(), EndsWith("root"));
}

}  // namespace
}  // namespace mayfly::http
