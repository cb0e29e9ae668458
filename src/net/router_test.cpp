#include "net/router.h"

#include <gtest/gtest.h>

#include <stdexcept>

#include "base/ids.h"
#include "base/json.h"
#include "net/test_server.h"

namespace mayfly::http {
namespace {

using testing_support::await;

class NoBody final : public BodyReader {
 public:
  Task<Result<std::size_t>> read(std::span<char>) override { co_return 0; }
  bool at_end() const override { return true; }
  std::optional<std::uint64_t> length() const override { return std::nullopt; }
};

Handler says(std::string text) {
  return [text](Request request) -> Task<Response> {
    auto out = text;
    for (auto& [name, value] : request.params) out += " " + name + "=" + value;
    co_return text_response(200, out);
  };
}

struct Routes : testing::Test {
  Response ask(std::string_view method, std::string_view raw_path) {
    auto match = router.match(method, raw_path);
    if (!match) return problem(match.error());
    NoBody body;
    return await(loop, router.handle(*match, Request{.method = std::string(method)}, body));
  }
  std::string text(std::string_view method, std::string_view raw_path) {
    return std::get<std::string>(ask(method, raw_path).body);
  }

  boost::asio::io_context loop;
  Router router;
};

TEST_F(Routes, ThePatternFindsTheHandlerAndItsParameters) {
  router.add("GET", "/", says("root"));
  router.add("GET", "/builds", says("list"));
  router.add("GET", "/builds/{id}", says("one"));
  router.add("GET", "/builds/{build}/logs", says("logs"));
  router.add("GET", "/builds/latest", says("latest"));
  router.add("GET", "/files/{path...}", says("file"));
  EXPECT_EQ(text("GET", "/"), "root");
  EXPECT_EQ(text("GET", "/builds"), "list");
  EXPECT_EQ(text("GET", "/builds/7"), "one id=7");
  EXPECT_EQ(text("GET", "/builds/7/logs"), "logs build=7");
  EXPECT_EQ(text("GET", "/builds/latest"), "latest");
  EXPECT_EQ(text("GET", "/builds/latest/logs"), "logs build=latest");  // backs out of the literal
  EXPECT_EQ(text("GET", "/files/a/b%20c//d"), "file path=a/b c//d");
}

TEST_F(Routes, AnEscapedSlashStaysInItsSegment) {
  router.add("GET", "/projects/{name}/x", says("x"));
  router.add("GET", "/plain", says("plain"));
  EXPECT_EQ(text("GET", "/projects/acme%2Fapp/x"), "x name=acme/app");
  EXPECT_EQ(text("GET", "/pl%61in"), "plain");
  EXPECT_EQ(ask("GET", "/projects/%zz/x").status, 400);
}

TEST_F(Routes, NoPathIs404AndNoMethodIs405WithAllow) {
  router.add("GET", "/builds/{id}", says("one"));
  router.add("DELETE", "/builds/{id}", says("gone"));
  router.add("POST", "/builds/{id}/cancel", says("cancel"));
  for (auto path : {"/", "/builds", "/builds/", "/builds//", "/builds/1/2", "/Builds/1", "/builds/1/", "*", ""})
    EXPECT_EQ(ask("GET", path).status, 404) << path;
  auto refused = ask("PUT", "/builds/1");
  EXPECT_EQ(refused.status, 405);
  EXPECT_EQ(refused.headers.get("allow"), "DELETE, GET, HEAD");
  EXPECT_EQ(*ask("GET", "/builds/1/cancel").headers.get("Allow"), "POST");
}

TEST_F(Routes, GetAnswersHeadUnlessHeadHasItsOwn) {
  router.add("GET", "/a", says("get"));
  router.add("GET", "/b", says("get"));
  router.add("HEAD", "/b", says("head"));
  EXPECT_EQ(text("HEAD", "/a"), "get");
  EXPECT_EQ(text("HEAD", "/b"), "head");
}

TEST_F(Routes, AMethodOfAParameterIsFoundBehindALiteralWithoutIt) {
  router.add("POST", "/jobs/retry", says("retry"));
  router.add("GET", "/jobs/{id}", says("one"));
  EXPECT_EQ(text("GET", "/jobs/retry"), "one id=retry");
}

TEST_F(Routes, MiddlewareWrapsEveryAnswerOutermostFirst) {
  std::string seen;
  auto named = [&seen](std::string name) {
    return [&seen, name](const RouteInfo& route, Request request, Next next) -> Task<Response> {
      seen += name + "(" + route.pattern + ")";
      request.context = name;
      auto response = co_await next(std::move(request));
      response.headers.add("Via", name);
      co_return response;
    };
  };
  router.use(named("outer"));
  router.use(named("inner"));
  router.add("GET", "/a", [](Request request) -> Task<Response> {
    co_return text_response(200, std::any_cast<std::string>(request.context));
  });
  auto response = ask("GET", "/a");
  EXPECT_EQ(seen, "outer(/a)inner(/a)");
  EXPECT_EQ(std::get<std::string>(response.body), "inner");
  EXPECT_EQ(response.headers.get("Via"), "inner");
  EXPECT_EQ(ask("GET", "/none").status, 404);
  EXPECT_EQ(seen, "outer(/a)inner(/a)outer()inner()");
}

TEST_F(Routes, MiddlewareMayAnswerItself) {
  router.use([](const RouteInfo&, Request, Next) -> Task<Response> { co_return problem(Error{Errc::unauthenticated, "who?", {}}); });
  router.add("GET", "/a", says("never"));
  EXPECT_EQ(ask("GET", "/a").status, 401);
}

TEST_F(Routes, AreListedInTheOrderTheyWereAdded) {
  router.add("GET", "/a/{b}", says(""));
  router.add_stream("PUT", "/c", [](Request, BodyReader&) -> Task<Response> { co_return empty_response(); }, {.max_body_bytes = 9});
  auto list = router.routes();
  ASSERT_EQ(list.size(), 2u);
  EXPECT_EQ(list[0].method + list[0].pattern, "GET/a/{b}");
  EXPECT_FALSE(list[0].streams_body);
  EXPECT_EQ(list[0].options.max_body_bytes, 1024u * 1024);
  EXPECT_TRUE(list[1].streams_body);
  EXPECT_EQ(list[1].options.max_body_bytes, 9u);
}

TEST_F(Routes, AWrongPatternIsABug) {
  for (auto pattern : {"", "a", "/a//b", "/a/", "/{}", "/{...}", "/a{b}", "/{a...}/b", "/{a"})
    EXPECT_THROW(router.add("GET", pattern, says("")), std::logic_error) << pattern;
  router.add("GET", "/x/{a}", says(""));
  EXPECT_THROW(router.add("GET", "/x/{b}", says("")), std::logic_error);
}

TEST(Parameters, AreTyped) {
  Request request{.params = {{"id", "01890a5d-ac96-774b-bcce-b302099a8057"}, {"n", "42"}, {"bad", "4x"}}};
  request.query.add("limit", "-3");
  request.query.add("text", "a b");
  EXPECT_EQ(request.param<BuildId>("id")->str(), "01890a5d-ac96-774b-bcce-b302099a8057");
  EXPECT_EQ(*request.param<int>("n"), 42);
  EXPECT_EQ(request.param<int>("bad").error().code, Errc::invalid);
  EXPECT_EQ(request.param<BuildId>("n").error().code, Errc::invalid);
  EXPECT_EQ(request.param("absent").error().code, Errc::invalid);
  EXPECT_EQ(**request.query_param<int>("limit"), -3);
  EXPECT_EQ(request.query_param<unsigned>("limit").error().code, Errc::invalid);
  EXPECT_EQ(*request.query_param<int>("absent"), std::nullopt);
  EXPECT_EQ(**request.query_param("text"), "a b");
}

TEST(Headers, CompareNamesWithoutCase) {
  Headers headers;
  headers.add("Set-Cookie", "a");
  headers.add("set-cookie", "b");
  headers.add("ETag", "x");
  EXPECT_EQ(headers.get("SET-COOKIE"), "a");
  EXPECT_EQ(headers.count("Set-Cookie"), 2u);
  headers.set("etag", "y");
  EXPECT_EQ(headers.get("ETag"), "y");
  headers.remove("SET-cookie");
  EXPECT_FALSE(headers.has("set-cookie"));
  EXPECT_TRUE(has_token("gzip , Close", "close"));
  EXPECT_FALSE(has_token("closed", "close"));
}

TEST(Problems, SayWhatTheErrorSaysAndCanBeReadBack) {
  for (auto [code, status] : {std::pair{Errc::invalid, 400}, {Errc::unauthenticated, 401}, {Errc::forbidden, 403},
                              {Errc::not_found, 404}, {Errc::conflict, 409}, {Errc::fenced, 409}, {Errc::too_large, 413},
                              {Errc::unsupported, 422}, {Errc::rate_limited, 429}, {Errc::unavailable, 503}, {Errc::timeout, 504}}) {
    Error error{code, "what \"happened\"", "what to do"};
    auto response = problem(error);
    EXPECT_EQ(response.status, status);
    EXPECT_EQ(response.headers.get("Content-Type"), "application/problem+json");
    EXPECT_EQ(error_of(response.status, response.headers, std::get<std::string>(response.body)), error);
  }
}

TEST(Problems, KeepTheServersOwnFailuresToItself) {
  auto response = problem(Error{Errc::internal, "/var/lib/secret.db is locked", {}});
  EXPECT_EQ(response.status, 500);
  EXPECT_EQ(std::get<std::string>(response.body).find("secret"), std::string::npos);
  EXPECT_EQ(find_string(*parse_json(std::get<std::string>(response.body)), "code"), "internal");
}

TEST(Problems, WithoutADocumentTheStatusSpeaks) {
  EXPECT_EQ(error_of(404, {}, "<html>").code, Errc::not_found);
  EXPECT_EQ(error_of(409, {}, "").code, Errc::conflict);
  EXPECT_EQ(error_of(418, {}, "").code, Errc::invalid);
  EXPECT_EQ(error_of(502, {}, "").code, Errc::unavailable);
  EXPECT_EQ(error_of(599, {}, "").code, Errc::internal);
}

}  // namespace
}  // namespace mayfly::http
