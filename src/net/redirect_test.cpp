#include "net/redirect.h"

#include "net/test_server.h"

namespace mayfly::http {
namespace {

using testing_support::await;
using testing_support::TestServer;

struct Redirects : testing::Test {
  Redirects() {
    store.add("GET", "/bytes", [this](Request r) -> Task<Response> {
      seen = r.headers;
      co_return text_response(206, "bytes");
    });
    store.add("GET", "/on", [](Request) -> Task<Response> { co_return redirect(302, "/bytes"); });
    first.add("GET", "/moved/{status}", [this](Request r) -> Task<Response> { co_return redirect(r.param<int>("status").value(), to); });
    first.add("GET", "/here", [](Request) -> Task<Response> { co_return text_response(200, "here"); });
  }
  std::pair<int, std::string> get(std::string target) {
    TestServer keeper(store), server(first);
    if (to.empty()) to = keeper.url("/bytes");
    if (to == "on") to = keeper.url("/on");
    boost::asio::io_context loop;
    Client client(loop.get_executor());
    ClientRequest request{.url = server.url(target)};
    request.headers.add("Authorization", "Bearer secret");
    request.headers.add("Range", "bytes=0-4");
    auto story = [&]() -> Task<std::pair<int, std::string>> {
      auto stream = co_await open_following(client, std::move(request));
      if (!stream) co_return std::pair(0, std::string(to_string(stream.error().code)));
      std::string body(100, '\0');
      auto n = co_await (*stream)->read(body);
      co_return std::pair((*stream)->status(), body.substr(0, n.value_or(0)));
    };
    return await(loop, story());
  }

  Router store, first;
  Headers seen;
  std::string to;
};

TEST_F(Redirects, AreFollowedWithTheRangeAndWithoutTheToken) {
  for (auto* status : {"302", "303", "307"}) {
    seen = {};
    EXPECT_EQ(get("/moved/" + std::string(status)), std::pair(206, std::string("bytes")));
    EXPECT_EQ(seen.get("Range"), "bytes=0-4");
    EXPECT_FALSE(seen.has("Authorization"));
    to.clear();
  }
}

TEST_F(Redirects, AnAnswerThatIsNoneIsTheAnswer) { EXPECT_EQ(get("/here"), std::pair(200, std::string("here"))); }

TEST_F(Redirects, AreFollowedOnce) {
  to = "on";
  EXPECT_EQ(get("/moved/302").first, 302);
}

TEST_F(Redirects, LeadNowhereElse) {
  for (auto* where : {"unix:/run/docker.sock:/info", "file:///etc/passwd", "/bytes", "http://user:word@host/"}) {
    to = where;
    EXPECT_EQ(get("/moved/302"), std::pair(0, std::string("invalid"))) << where;
  }
}

}  // namespace
}  // namespace mayfly::http
