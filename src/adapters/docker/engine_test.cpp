// The client against an engine that is none, or a bad one; then against a real one, where MAYFLY_TEST_DOCKER names it.
#include "adapters/docker/engine.h"

#include <gmock/gmock.h>

#include <cstdlib>

#include "async/scope.h"
#include "async/signal.h"
#include "async/system_timer.h"
#include "net/test_server.h"
#include "support/run.h"
#include "support/temp_dir.h"

namespace mayfly::docker {
namespace {

using namespace std::chrono_literals;
using http::json_response;
using http::Request;
using http::Response;
using testing::HasSubstr;

class FakeEngine : public testing::Test {
 protected:
  FakeEngine() { ping("1.41"); }

  void ping(const std::string& version) { version_ = version; }
  void answer(std::string method, std::string path, int status, std::string body) {
    router_.add(std::move(method), "/v1.41" + path, [status, body](Request) -> Task<Response> { co_return json_response(status, body); });
  }
  Engine& engine() {
    if (engine_) return *engine_;
    router_.add("GET", "/_ping", [this](Request) -> Task<Response> {
      auto response = json_response(200, "OK");
      response.headers.set("Api-Version", version_);
      co_return response;
    });
    server_ = std::make_unique<http::testing_support::TestServer>(router_, http::ServerOptions{}, "unix:" + socket_);
    return *(engine_ = std::make_unique<Engine>(loop_.loop(), socket_));
  }

  TempDir data_;
  std::string socket_ = data_.file("engine.sock");
  std::string version_;
  http::Router router_;
  std::unique_ptr<http::testing_support::TestServer> server_;
  TestLoop loop_;
  std::unique_ptr<Engine> engine_;
};

TEST(SocketPaths, AreWrittenAsDockerWritesThem) {
  for (auto text : {"unix:///run/docker.sock", "unix:/run/docker.sock", "/run/docker.sock"}) EXPECT_EQ(socket_path(text), "/run/docker.sock") << text;
  for (auto text : {"", "tcp://127.0.0.1:2375", "run/docker.sock", "unix://", "/a:b"}) EXPECT_EQ(socket_path(text).error().code, Errc::invalid) << text;
}

TEST_F(FakeEngine, OneThatIsNotThereSaysWhere) {
  Engine engine(loop_.loop(), data_.file("none.sock"));
  auto facts = loop_.run(engine.facts());
  ASSERT_FALSE(facts);
  EXPECT_EQ(facts.error().code, Errc::unavailable);
  EXPECT_THAT(facts.error().message, HasSubstr("none.sock"));
}

TEST_F(FakeEngine, ThatIsTooOldIsRefused) {
  ping("1.40");
  auto facts = loop_.run(engine().facts());
  ASSERT_FALSE(facts);
  EXPECT_EQ(facts.error().code, Errc::unsupported);
  EXPECT_THAT(facts.error().hint, HasSubstr("20.10"));
}

TEST_F(FakeEngine, ThatIsNewerIsSpokenToAsOursAllow) {
  ping("1.99");
  router_.add("GET", "/v1.47/info", [](Request) -> Task<Response> { co_return json_response(200, R"({"ServerVersion":"99"})"); });
  auto facts = loop_.run(engine().facts());
  ASSERT_TRUE(facts) << facts.error().message;
  EXPECT_EQ(facts->version, "99");
}

TEST_F(FakeEngine, TellsAboutItself) {
  answer("GET", "/info", 200, R"({"ServerVersion":"20.10","Driver":"overlay2","Runtimes":{"runc":{"path":"runc"},"runsc":{}},"SecurityOptions":["name=seccomp,profile=default","name=userns"]})");
  auto facts = loop_.run(engine().facts());
  ASSERT_TRUE(facts);
  EXPECT_THAT(facts->runtimes, testing::UnorderedElementsAre("runc", "runsc"));
  EXPECT_TRUE(facts->user_namespaces);
  EXPECT_FALSE(facts->rootless);
}

TEST_F(FakeEngine, ItsWordsBecomeErrors) {
  answer("POST", "/containers/{id}/start", 404, R"({"message":"No such container: x"})");
  answer("POST", "/containers/create", 409, R"({"message":"Conflict. The container name is already in use"})");
  answer("GET", "/containers/{id}/json", 500, "<html>" + std::string(10'000, 'x'));
  answer("GET", "/images/{name}/json", 200, R"(["not what it should be"])");
  answer("DELETE", "/containers/{id}", 404, R"({"message":"No such container"})");
  auto started = loop_.run(engine().start("x"));
  EXPECT_EQ(started.error().code, Errc::not_found);
  EXPECT_THAT(started.error().message, HasSubstr("No such container: x"));
  EXPECT_EQ(loop_.run(engine().create({.name = "n", .image = "i"})).error().code, Errc::conflict);
  auto seen = loop_.run(engine().inspect("x"));
  EXPECT_EQ(seen.error().code, Errc::unavailable);
  EXPECT_LT(seen.error().message.size(), 1000u) << "however much it says";
  EXPECT_EQ(loop_.run(engine().image("i")).error().code, Errc::corrupt);
  EXPECT_TRUE(loop_.run(engine().remove("x"))) << "absent is success";
}

TEST_F(FakeEngine, NamesCannotLeaveTheirPlaceInAPath) {
  std::string asked;
  router_.add("DELETE", "/v1.41/containers/{id}", [&](Request request) -> Task<Response> {
    asked = request.target;
    co_return http::empty_response(204);
  });
  ASSERT_TRUE(loop_.run(engine().remove("../images/x?force=0#")));
  EXPECT_EQ(asked, "/v1.41/containers/..%2Fimages%2Fx%3Fforce%3D0%23?force=1&v=1");
}

TEST_F(FakeEngine, APullIsReadLineByLine) {
  router_.add("POST", "/v1.41/images/create", [](Request request) -> Task<Response> {
    bool asked = request.query.get("fromImage") == "r.example/a" && request.query.get("tag") == "1";
    co_return json_response(200, asked ? "{\"status\":\"one\"}\r\n{\"status\":\"two\"}\r\n\n{\"status\":\"last\"}" : "");
  });
  std::vector<std::string> lines;
  auto pulled = loop_.run(engine().pull({"r.example/a", "1"}, [&](std::string_view line) -> Result<void> {
    lines.emplace_back(line);
    return {};
  }));
  ASSERT_TRUE(pulled) << pulled.error().message;
  EXPECT_THAT(lines, testing::ElementsAre(R"({"status":"one"})", R"({"status":"two"})", R"({"status":"last"})"));
}

TEST_F(FakeEngine, APullThatIsRefusedSaysWhy) {
  answer("POST", "/images/create", 404, R"({"message":"manifest for a:1 not found: manifest unknown"})");
  auto pulled = loop_.run(engine().pull({"a", "1"}, [](std::string_view) -> Result<void> { return {}; }));
  EXPECT_EQ(pulled.error().code, Errc::not_found);
}

TEST_F(FakeEngine, ALineHasALargestLength) {
  answer("POST", "/images/create", 200, std::string(max_line_bytes + 20'000, 'x'));
  auto pulled = loop_.run(engine().pull({"a", "1"}, [](std::string_view) -> Result<void> { return {}; }));
  ASSERT_FALSE(pulled);
  EXPECT_EQ(pulled.error().code, Errc::too_large);
}

TEST_F(FakeEngine, EventsAreHandedOnUntilItGoes) {
  answer("GET", "/events", 200, R"({"Type":"container","Action":"die","Actor":{"ID":"abc","Attributes":{"mayfly.dev/pool":"p","exitCode":"1"}}}
{"Action":5,"Actor":[]}
)");
  bool following = false;
  std::vector<Event> events;
  auto ended = loop_.run(engine().follow("mayfly.dev/pool=p", [&] { following = true; }, [&](Event event) { events.push_back(std::move(event)); }));
  EXPECT_TRUE(ended);
  EXPECT_TRUE(following);
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[0].action, "die");
  EXPECT_EQ(events[0].container, "abc");
  EXPECT_EQ(events[0].labels.at("mayfly.dev/pool"), "p");
  EXPECT_EQ(events[1].action, "") << "what makes no sense is nothing to act on";
}

TEST_F(FakeEngine, NobodyAttachesToWhatIsNotThere) {
  answer("POST", "/containers/{id}/attach", 404, R"({"message":"No such container"})");
  auto attached = loop_.run(engine().attach("x"));
  ASSERT_FALSE(attached);
  EXPECT_EQ(attached.error().code, Errc::not_found);
}

class RealEngine : public testing::Test {
 protected:
  void SetUp() override {
    auto* where = std::getenv("MAYFLY_TEST_DOCKER");
    if (!where) GTEST_SKIP() << "no Docker engine: scripts/servers up docker, then eval \"$(scripts/servers env)\"";
    engine_ = std::make_unique<Engine>(loop_.loop(), *socket_path(where));
  }
  void TearDown() override {
    if (engine_) (void)loop_.run(engine_->remove(name_));
  }
  ContainerSpec spec(std::vector<std::string> command) {
    return {.name = name_, .image = "local/busybox:1", .labels = {{"mayfly.dev/test", name_}}, .entrypoint = std::move(command), .memory_bytes = 64 << 20, .pids = 20};
  }
  Container ended() {
    for (;;) {
      auto seen = loop_.run(engine_->inspect(name_));
      if (!seen || !seen->running) return seen.value();
    }
  }

  TestLoop loop_;
  std::unique_ptr<Engine> engine_;
  std::string name_ = "mayfly-engine-test-" + std::to_string(getpid());
};

TEST_F(RealEngine, RunsAContainerFromCreateToRemove) {
  auto facts = loop_.run(engine_->facts());
  ASSERT_TRUE(facts) << facts.error().message;
  EXPECT_THAT(facts->runtimes, testing::Contains("runc"));
  auto created = loop_.run(engine_->create(spec({"sh", "-c", "exit 7"})));
  ASSERT_TRUE(created) << created.error().message;
  auto again = loop_.run(engine_->create(spec({"sh"})));
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, Errc::conflict);
  ASSERT_TRUE(loop_.run(engine_->start(name_)));
  EXPECT_EQ(ended().exit_code, 7);
  auto listed = loop_.run(engine_->list({"mayfly.dev/test=" + name_}));
  ASSERT_TRUE(listed);
  ASSERT_EQ(listed->size(), 1u);
  EXPECT_EQ(listed->front().id, *created);
  ASSERT_TRUE(loop_.run(engine_->remove(name_)));
  EXPECT_EQ(loop_.run(engine_->inspect(name_)).error().code, Errc::not_found);
  EXPECT_TRUE(loop_.run(engine_->remove(name_)));
}

TEST_F(RealEngine, KnowsWhatItHasAndWhatItHasNot) {
  EXPECT_TRUE(loop_.run(engine_->image("local/busybox:1")));
  EXPECT_EQ(loop_.run(engine_->image("local/no-such:1")).error().code, Errc::not_found);
  auto unknown = spec({"sh"});
  unknown.image = "local/no-such:1";
  EXPECT_EQ(loop_.run(engine_->create(unknown)).error().code, Errc::not_found);
}

TEST_F(RealEngine, TellsEvents) {
  std::vector<std::string> seen;
  Scope scope(loop_.loop());
  auto story = [&]() -> Task<void> {
    Signal following;
    auto timers = make_system_timers(loop_.loop());
    auto follow = [&]() -> Task<void> {
      (void)co_await engine_->follow("mayfly.dev/test=" + name_, [&] { following.notify(); }, [&](Event event) {
        seen.push_back(event.action);
        if (event.action == "destroy") scope.cancel();
      });
    };
    scope.spawn(follow());
    co_await following.wait(*timers);
    (void)co_await engine_->create(spec({"true"}));
    (void)co_await engine_->start(name_);
    (void)co_await engine_->remove(name_);
    co_await scope.join();
  };
  loop_.run(story());
  EXPECT_THAT(seen, testing::IsSupersetOf({"create", "start", "die", "destroy"}));
}

}  // namespace
}  // namespace mayfly::docker
