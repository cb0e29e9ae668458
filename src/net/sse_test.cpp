#include "net/sse.h"

#include <gtest/gtest.h>

#include "async/signal.h"
#include "async/system_timer.h"
#include "net/client.h"
#include "net/test_server.h"

namespace mayfly::http {
namespace {

using namespace testing_support;
using namespace std::chrono_literals;
using namespace std::string_literals;

TEST(Events, AreWrittenSoThatNoLineEscapesItsField) {
  EXPECT_EQ(format_sse({"7", "build", "{}"}), "id: 7\nevent: build\ndata: {}\n\n");
  EXPECT_EQ(format_sse({.data = "a\nb\r\nc\rd"}), "data: a\ndata: b\ndata: c\ndata: d\n\n");
  EXPECT_EQ(format_sse({"1\ndata: x", "e\r\nid: 2", "y"}), "id: 1data: x\nevent: eid: 2\ndata: y\n\n");
  EXPECT_EQ(format_sse({}), "data: \n\n");
}

const std::string kStream =
    "\xEF\xBB\xBF: hello\nretry: 250\nid: 1\nevent: job\ndata: one\ndata:two\r\n\r\ndata\n\nid: 2\n\nevent: lost\n\nretry: x\n"
    "id: b\0d\nunknown: y\ndata:  spaced\r\rdata: never finished"s;

TEST(Events, AreReadInAnySplit) {
  std::vector<SseEvent> expected{{"1", "job", "one\ntwo"}, {"1", "", ""}, {"2", "", " spaced"}};
  for (std::size_t step = 1; step <= kStream.size(); ++step) {
    SseParser parser;
    std::vector<SseEvent> events;
    for (std::size_t at = 0; at < kStream.size(); at += step)
      for (auto& event : *parser.feed(std::string_view(kStream).substr(at, step))) events.push_back(event);
    EXPECT_EQ(events, expected) << step;
    EXPECT_EQ(parser.last_id(), "2");
    EXPECT_EQ(parser.retry(), 250ms);
  }
}

TEST(Events, SurviveTheRoundTrip) {
  SseEvent event{"42", "log", "line 1\n\nline 3: x\n"};
  SseParser parser;
  EXPECT_EQ(*parser.feed(format_sse(event)), std::vector{event});
}

TEST(Events, HaveALimit) {
  SseParser parser;
  EXPECT_TRUE(parser.feed("data:" + std::string(kMaxSseEventBytes - 5, 'x')));
  auto more = parser.feed("x");
  ASSERT_FALSE(more);
  EXPECT_EQ(more.error().code, Errc::too_large);
  SseParser many;
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(many.feed("data:" + std::string(kMaxSseEventBytes / 2, 'x') + "\n\n"));
  EXPECT_TRUE(many.feed("data:" + std::string(kMaxSseEventBytes / 2, 'x') + "\n"));
  EXPECT_FALSE(many.feed("data:" + std::string(kMaxSseEventBytes / 2, 'x') + "\n"));
}

TEST(Resuming, TakesTheHeaderBeforeTheQuery) {
  Request request;
  EXPECT_EQ(last_event_id(request), std::nullopt);
  request.query.add("last_event_id", "5");
  EXPECT_EQ(last_event_id(request), "5");
  request.headers.add("last-event-id", "9");
  EXPECT_EQ(last_event_id(request), "9");
}

TEST(Resuming, IsAskedForByTheAcceptHeader) {
  Request request;
  EXPECT_FALSE(wants_sse(request));
  request.headers.set("Accept", "text/plain, text/event-stream;q=0.9");
  EXPECT_TRUE(wants_sse(request));
  request.headers.set("Accept", "text/*");
  EXPECT_FALSE(wants_sse(request));
}

/// Counts from where the viewer left off, three events a connection.
struct Tail : testing::Test {
  Tail() {
    router.add("GET", "/tail", [](Request request) -> Task<Response> {
      int from = std::stoi(last_event_id(request).value_or("0"));
      co_return sse_response([from](SseWriter& viewer) -> Task<void> {
        co_await viewer.send_retry(20ms);
        for (int i = from + 1; i <= from + 3; ++i) co_await viewer.send({std::to_string(i), "n", "line " + std::to_string(i)});
      });
    });
  }
  Router router;
};

Task<Result<std::vector<SseEvent>>> read_events(Client& client, std::string url, std::string last_id) {
  ClientRequest request{.url = url};
  if (!last_id.empty()) request.headers.add("Last-Event-ID", last_id);
  CO_TRY_ASSIGN(auto stream, co_await client.open(std::move(request)));
  SseParser parser;
  std::vector<SseEvent> events;
  std::array<char, 7> piece;
  while (true) {
    CO_TRY_ASSIGN(auto n, co_await stream->read(piece));
    if (n == 0) co_return events;
    CO_TRY_ASSIGN(auto some, parser.feed({piece.data(), n}));
    events.insert(events.end(), some.begin(), some.end());
  }
}

TEST_F(Tail, AViewerThatComesBackMissesNothing) {
  TestServer server(router);
  boost::asio::io_context loop;
  Client client(loop.get_executor());
  std::string last, seen;
  for (int connection = 0; connection < 3; ++connection) {
    auto events = await(loop, read_events(client, server.url("/tail"), last));
    ASSERT_TRUE(events) << events.error().message;
    for (auto& event : *events) seen += event.data.substr(5), last = event.id;
  }
  EXPECT_EQ(seen, "123456789");
}

/// A stream whose source never says anything.
struct Silence : testing::Test {
  struct Unwound {
    std::promise<void>& promise;
    ~Unwound() { promise.set_value(); }
  };
  Silence() {
    for (auto [path, heartbeat] : {std::pair{"/silence", 20ms}, {"/dead-silence", 1'000'000ms}})
      router.add("GET", path, [this, heartbeat](Request) -> Task<Response> {
        co_return sse_response([this](SseWriter&) -> Task<void> {
          Unwound unwound{body_ended};
          auto timers = make_system_timers(co_await boost::asio::this_coro::executor);
          Signal never;
          co_await never.wait(*timers);
        }, heartbeat);
      });
    router.add("GET", "/throws", [](Request) -> Task<Response> {
      co_return sse_response([](SseWriter& viewer) -> Task<void> {
        co_await viewer.send({.data = "x"});
        throw std::runtime_error("a bug");
      });
    });
  }
  Router router;
  std::promise<void> body_ended;
};

TEST_F(Silence, IsFilledWithComments) {
  TestServer server(router);
  RawPeer viewer(server.address());
  viewer.send("GET /silence HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_NE(viewer.receive_until(":\n\n").find("Content-Type: text/event-stream"), std::string::npos);
  EXPECT_EQ(viewer.receive_until(":\n\n"), "\r\n3\r\n:\n\n");
}

TEST_F(Silence, EndsForAViewerThatHasGone) {
  TestServer server(router);
  RawPeer viewer(server.address());
  viewer.send("GET /silence HTTP/1.1\r\nHost: x\r\n\r\n");
  viewer.receive_until("\r\n\r\n");
  viewer.close();
  EXPECT_EQ(body_ended.get_future().wait_for(10s), std::future_status::ready);
}

TEST_F(Silence, EndsWholeWhenTheServerStops) {
  TestServer server(router);
  RawPeer viewer(server.address());
  viewer.send("GET /dead-silence HTTP/1.1\r\nHost: x\r\n\r\n");
  viewer.receive_until("\r\n\r\n");
  server.stop();
  EXPECT_EQ(body_ended.get_future().wait_for(5s), std::future_status::ready);
  auto rest = viewer.receive_all();
  EXPECT_TRUE(rest.ends_with("0\r\n\r\n")) << rest;
  viewer.close();
  server.wait_stopped();
}

TEST_F(Silence, ABugInABodyCostsOnlyItsConnection) {
  TestServer server(router);
  RawPeer viewer(server.address());
  viewer.send("GET /throws HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_NE(viewer.receive_until("data: x").find("data: x"), std::string::npos);
  RawPeer other(server.address());
  other.send("GET /none HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_TRUE(other.receive_response().starts_with("HTTP/1.1 404"));
}

}  // namespace
}  // namespace mayfly::http
