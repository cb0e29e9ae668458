// How a cluster is followed, against an API server that answers as real ones do on their bad days.
#include "adapters/kubernetes/informer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <deque>
#include <mutex>

#include "adapters/kubernetes/event_stream.h"
#include "adapters/system/system_clock.h"
#include "adapters/system/system_entropy.h"
#include "async/scope.h"
#include "net/test_server.h"
#include "support/run.h"

namespace mayfly::kubernetes {
namespace {

using namespace std::chrono_literals;
using http::testing_support::TestServer;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::string pod(const std::string& name, const std::string& version, const std::string& phase = "Pending") {
  return R"({"kind": "Pod", "metadata": {"name": ")" + name + R"(", "uid": "u-)" + name + R"(", "resourceVersion": ")" + version + R"("}, "status": {"phase": ")" + phase + "\"}}";
}
std::string event(const std::string& type, const std::string& object) { return R"({"type": ")" + type + R"(", "object": )" + object + "}\n"; }
std::string bookmark(const std::string& version) { return event("BOOKMARK", R"({"metadata": {"resourceVersion": ")" + version + "\"}}"); }
std::string initial_end(const std::string& version) {
  return event("BOOKMARK", R"({"metadata": {"resourceVersion": ")" + version + R"(", "annotations": {"k8s.io/initial-events-end": "true"}}})");
}
std::string page(const std::string& version, std::vector<std::string> pods, const std::string& next = {}) {
  std::string items;
  for (auto& one : pods) items += (items.empty() ? "" : ",") + one;
  return R"({"kind": "PodList", "metadata": {"resourceVersion": ")" + version + R"(", "continue": ")" + next + R"("}, "items": [)" + items + "]}";
}
std::string status(int code, const std::string& reason, const std::string& message = "because") {
  return R"({"kind": "Status", "code": )" + std::to_string(code) + R"(, "reason": ")" + reason + R"(", "message": ")" + message + "\"}";
}

/// What one request is answered with. A watch sends its pieces and then ends, or stays open.
struct Answer {
  int status = 200;
  std::vector<std::string> pieces = {};
  bool stays_open = false;
  http::Headers headers = {};
  bool held = false;   // until `release`
};

struct Followed : testing::Test {
  Followed() {
    router.add("GET", "/pods", [this](http::Request request) -> Task<http::Response> { return answer(std::move(request)); });
    router.add("POST", "/pods", [this](http::Request request) -> Task<http::Response> { return answer(std::move(request)); });
  }

  /// Requests that nothing was said for are answered and held open.
  void answer_next(Answer one) {
    std::scoped_lock lock(mutex);
    answers.push_back(std::move(one));
  }
  Task<http::Response> answer(http::Request request) {
    auto one = next_answer(request.target);
    SystemClock server_clock(server_loop->get_executor());
    while (one.held && !release) co_await sleep_for(server_clock, 1ms);
    http::Response out{.status = one.status, .headers = one.headers};
    out.body = http::StreamBody{.write = [this, pieces = one.pieces, open = one.stays_open](http::BodyWriter& to) -> Task<void> {
      for (auto& piece : pieces)
        if (!co_await to.write(piece)) co_return;
      if (!open) co_return;
      SystemClock server_clock(server_loop->get_executor());
      for (;;) co_await sleep_for(server_clock, 1s);
    }, .endless = true};
    co_return out;
  }
  Answer next_answer(const std::string& target) {
    std::scoped_lock lock(mutex);
    requests.push_back(target);
    Answer one{.pieces = {}, .stays_open = true};
    if (answers.empty()) return one;
    one = std::move(answers.front());
    answers.pop_front();
    return one;
  }
  std::vector<std::string> asked() {
    std::scoped_lock lock(mutex);
    return requests;
  }

  void follow(InformerOptions options = {}) {
    options.path = "/pods";
    options.selector = "a=b";
    api = std::make_unique<Api>(loop.loop(), clock, entropy, Cluster{.server = server.url("")}, api_options);
    informer = std::make_unique<Informer>(*api, clock, options, [this](const Object* before, const Object* after) {
      changes.push_back((before ? before->name + ":" + before->phase : "-") + " → " + (after ? after->name + ":" + after->phase : "-"));
    });
    scope = std::make_unique<Scope>(loop.loop());
    scope->spawn(informer->run());
  }
  ~Followed() override {
    if (!scope) return;
    scope->cancel();
    loop.run(scope->join());
  }
  bool until(std::function<bool()> seen) {
    for (auto end = clock.now() + 10s; !seen(); loop.run(sleep_for(clock, 2ms)))
      if (clock.now() > end) return false;
    return true;
  }
  std::vector<std::string> names() {
    std::vector<std::string> out;
    for (auto& [name, object] : informer->objects()) out.push_back(name + ":" + object.phase);
    return out;
  }

  http::Router router;
  std::atomic<bool> release = false;
  std::mutex mutex;
  std::deque<Answer> answers;
  std::vector<std::string> requests;
  TestServer server{router};
  boost::asio::io_context* server_loop = &server.loop();
  TestLoop loop;
  SystemClock clock{loop.loop()};
  SystemEntropy entropy;
  ApiOptions api_options{.qps = 1000, .burst = 1000, .first_pause = 1ms, .longest_pause = 5ms};
  std::unique_ptr<Api> api;
  std::unique_ptr<Informer> informer;
  std::unique_ptr<Scope> scope;
  std::vector<std::string> changes;
};

TEST_F(Followed, TheInitialStateComesByTheWatchThatGoesOn) {
  answer_next({.pieces = {event("ADDED", pod("a", "1")), event("ADDED", pod("b", "2")), initial_end("2"), event("MODIFIED", pod("a", "3", "Running")), event("DELETED", pod("b", "4"))}, .stays_open = true});
  follow();
  ASSERT_TRUE(until([&] { return changes.size() == 4; }));
  EXPECT_THAT(changes, ElementsAre("- → a:Pending", "- → b:Pending", "a:Pending → a:Running", "b:Pending → -"));
  EXPECT_EQ(informer->counts().streams, 1);
  EXPECT_EQ(informer->counts().lists, 0);
  EXPECT_THAT(asked().at(0), testing::AllOf(HasSubstr("sendInitialEvents=true"), HasSubstr("resourceVersionMatch=NotOlderThan"), HasSubstr("labelSelector=a%3Db")));
}

TEST_F(Followed, AServerThatIgnoresTheWishIsListedByPages) {
  answer_next({.pieces = {event("ADDED", pod("a", "1"))}, .stays_open = true});   // and no word that this was all
  answer_next({.pieces = {page("7", {pod("a", "1")}, "next page")}});
  answer_next({.pieces = {page("7", {pod("b", "2")})}});
  follow({.initial_patience = 50ms});
  ASSERT_TRUE(until([&] { return names().size() == 2; }));
  ASSERT_TRUE(until([&] { return asked().size() == 4; }));
  EXPECT_THAT(asked().at(2), HasSubstr("continue=next%20page"));
  EXPECT_THAT(asked().at(3), HasSubstr("resourceVersion=7"));
}

TEST_F(Followed, AServerThatDoesNotKnowTheWishIsListedByPages) {
  answer_next({.status = 422, .pieces = {status(422, "Invalid", "sendInitialEvents is forbidden for watch")}});
  answer_next({.pieces = {page("7", {pod("a", "1")})}});
  follow();
  ASSERT_TRUE(until([&] { return names().size() == 1; }));
}

TEST_F(Followed, AnEndedWatchGoesOnWhereItWas) {
  answer_next({.pieces = {event("ADDED", pod("a", "1")), initial_end("5"), bookmark("9")}});
  answer_next({.pieces = {event("MODIFIED", pod("a", "10", "Running"))}});
  follow();
  ASSERT_TRUE(until([&] { return asked().size() == 3; }));
  EXPECT_THAT(asked().at(1), HasSubstr("resourceVersion=9&"));
  EXPECT_THAT(asked().at(2), HasSubstr("resourceVersion=10&"));
  EXPECT_EQ(informer->counts().lists, 0);
}

TEST_F(Followed, AVersionThatIsTooOldInTheStreamIsListedAnew) {
  answer_next({.pieces = {event("ADDED", pod("a", "1")), event("ADDED", pod("b", "1")), initial_end("5"), event("ERROR", status(410, "Expired"))}, .stays_open = true});
  answer_next({.pieces = {page("20", {pod("b", "18", "Running"), pod("c", "19")})}});
  follow();
  ASSERT_TRUE(until([&] { return names().size() == 2 && changes.size() == 5; }));
  EXPECT_THAT(names(), ElementsAre("b:Running", "c:Pending"));
  EXPECT_THAT(changes, testing::Contains("a:Pending → -")) << "what a new list has not is gone";
  EXPECT_EQ(informer->counts().expired, 1);
}

TEST_F(Followed, AVersionThatIsTooOldAtTheDoorIsListedAnew) {
  answer_next({.pieces = {event("ADDED", pod("a", "1")), initial_end("5")}});
  answer_next({.status = 410, .pieces = {status(410, "Expired")}});
  answer_next({.pieces = {page("20", {})}});
  follow();
  ASSERT_TRUE(until([&] { return changes.size() == 2; }));
  EXPECT_THAT(names(), IsEmpty());
}

TEST_F(Followed, PiecesOfAnySizeMakeTheSameEvents) {
  auto whole = event("ADDED", pod("a", "1")) + initial_end("1") + event("MODIFIED", pod("a", "2", "Running"));
  Answer bytes{.stays_open = true};
  for (char c : whole) bytes.pieces.emplace_back(1, c);
  answer_next(std::move(bytes));
  follow();
  ASSERT_TRUE(until([&] { return changes.size() == 2; }));
  EXPECT_THAT(names(), ElementsAre("a:Running"));
}

TEST_F(Followed, HalfALineAtTheEndIsNoEvent) {
  answer_next({.pieces = {event("ADDED", pod("a", "1")), initial_end("3"), R"({"type": "DELETED", "object": )"}});
  follow();
  ASSERT_TRUE(until([&] { return asked().size() == 2; }));
  EXPECT_THAT(names(), ElementsAre("a:Pending"));
  EXPECT_THAT(asked().at(1), HasSubstr("resourceVersion=3&"));
}

TEST_F(Followed, NonsenseInAWatchIsNotBelieved) {
  answer_next({.pieces = {event("ADDED", pod("a", "1")), initial_end("3"), "<html>busy</html>\n"}, .stays_open = true});
  answer_next({.pieces = {page("8", {pod("a", "1"), pod("b", "7")})}});
  follow();
  ASSERT_TRUE(until([&] { return names().size() == 2; }));
}

TEST_F(Followed, AnEventTooLargeEndsTheWatchAndNotTheProcess) {
  answer_next({.pieces = {event("ADDED", pod("a", "1")), initial_end("3"), std::string(max_event_bytes + 1, 'x')}, .stays_open = true});
  follow();
  ASSERT_TRUE(until([&] { return asked().size() == 2; }));
  EXPECT_THAT(names(), ElementsAre("a:Pending"));
}

TEST_F(Followed, QuietWatchesAreAskedAgain) {
  answer_next({.pieces = {event("ADDED", pod("a", "1")), initial_end("3")}, .stays_open = true});
  follow({.quiet = 30ms});
  ASSERT_TRUE(until([&] { return asked().size() >= 3; }));
  EXPECT_THAT(asked().at(1), HasSubstr("resourceVersion=3&"));
  EXPECT_EQ(informer->counts().lists, 0);
}

TEST_F(Followed, OnceInAWhileAllIsListedWhateverTheWatchSaid) {
  answer_next({.pieces = {event("ADDED", pod("a", "1")), initial_end("3")}, .stays_open = true});
  answer_next({.pieces = {page("9", {pod("b", "8")})}});
  follow({.relist_after = 50ms});
  ASSERT_TRUE(until([&] { return changes.size() == 3; }));
  EXPECT_THAT(names(), ElementsAre("b:Pending"));
}

TEST_F(Followed, WhatWasWrittenAfterTheServerLookedIsNotTakenForGone) {
  answer_next({.pieces = {initial_end("3"), event("ERROR", status(410, "Expired"))}, .stays_open = true});
  answer_next({.pieces = {page("4", {})}, .held = true});
  follow();
  ASSERT_TRUE(until([&] { return asked().size() == 2; })) << "the list is under way, and does not know yet";
  informer->saw(*read_object(pod("new", "5")));
  release = true;
  ASSERT_TRUE(until([&] { return asked().size() == 3; }));
  EXPECT_THAT(names(), ElementsAre("new:Pending"));
}

TEST_F(Followed, ABusyServerIsGivenTheTimeItAsksFor) {
  api = std::make_unique<Api>(loop.loop(), clock, entropy, Cluster{.server = server.url("")}, api_options);
  answer_next({.status = 429, .pieces = {status(429, "TooManyRequests")}, .headers = {{{"Retry-After", "1"}}}});
  answer_next({.pieces = {"{}"}});
  auto began = clock.now();
  auto answered = loop.run(api->send({.method = "POST", .path = "/pods", .body = "{}"}));
  ASSERT_TRUE(answered) << answered.error().message;
  EXPECT_TRUE(answered->ok());
  EXPECT_GE(clock.now() - began, 1s);
}

TEST_F(Followed, RequestsKeepToTheirRate) {
  api_options = {.qps = 50, .burst = 5};
  api = std::make_unique<Api>(loop.loop(), clock, entropy, Cluster{.server = server.url("")}, api_options);
  for (int i = 0; i < 15; ++i) answer_next({.pieces = {"{}"}});
  auto began = clock.now();
  for (int i = 0; i < 15; ++i) ASSERT_TRUE(loop.run(api->send({.path = "/pods"})));
  EXPECT_GE(clock.now() - began, 190ms) << "5 at once, 10 more at 50 a second";
}

TEST_F(Followed, ARefusalIsSaidAndNotRepeated) {
  api = std::make_unique<Api>(loop.loop(), clock, entropy, Cluster{.server = server.url("")}, api_options);
  answer_next({.status = 403, .pieces = {status(403, "Forbidden", "pods is forbidden: User x cannot create resource pods")}});
  auto refused = loop.run(api->succeed({.method = "POST", .path = "/pods", .body = "{}"}));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::forbidden);
  EXPECT_THAT(refused.error().message, HasSubstr("cannot create resource pods"));
  EXPECT_EQ(asked().size(), 1u);
}

TEST_F(Followed, AServerThatBreaksIsTriedAgainForAWhile) {
  api_options.give_up_after = 100ms;
  api = std::make_unique<Api>(loop.loop(), clock, entropy, Cluster{.server = server.url("")}, api_options);
  for (int i = 0; i < 1000; ++i) answer_next({.status = 500, .pieces = {status(500, "InternalError", "etcd is away")}});
  auto refused = loop.run(api->succeed({.path = "/pods"}));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::unavailable);
  EXPECT_THAT(refused.error().message, HasSubstr("etcd is away"));
  EXPECT_GT(asked().size(), 2u);
}

TEST(LinesOfAWatch, HaveALimit) {
  Lines lines(4);
  lines.feed("abcd\nabcde\n");
  EXPECT_EQ(lines.next().value(), "abcd");
  EXPECT_EQ(lines.next().error().code, Errc::too_large);
  Lines open(4);
  open.feed("abcd");
  EXPECT_EQ(open.next().value(), std::nullopt);
  open.feed("e");
  EXPECT_EQ(open.next().error().code, Errc::too_large);
}

}  // namespace
}  // namespace mayfly::kubernetes
