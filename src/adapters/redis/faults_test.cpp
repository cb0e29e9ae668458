// A Redis of the test's own, emptied, stopped, paused and cut off while it is in use.

#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "adapters/redis/cache.h"
#include "adapters/redis/commands.h"
#include "adapters/system/system_clock.h"
#include "async/scope.h"
#include "support/run.h"
#include "support/server_process.h"
#include "support/temp_dir.h"

namespace mayfly {
namespace {

using namespace std::chrono_literals;

constexpr Duration patience = 20s;        // for what comes sooner or later
// Deadlines far enough apart to be told from each other on a busy machine.
constexpr RedisTimes unhurried{.answer = 2s, .idle = 300ms};
constexpr Duration at_once = 1s;          // for what must not wait for an answer
constexpr Duration slack = 8s;            // over a deadline

bool installed(std::string_view program) {
  std::string path = std::getenv("PATH") ? std::getenv("PATH") : "";
  for (std::size_t at = 0; at <= path.size();) {
    auto end = std::min(path.find(':', at), path.size());
    if (std::filesystem::exists(path.substr(at, end - at) + "/" + std::string(program))) return true;
    at = end + 1;
  }
  return false;
}

class RedisFaults : public testing::Test {
 protected:
  void SetUp() override {
    if (!installed("redis-server")) GTEST_SKIP() << "redis-server is not installed: scripts/install-deps";
  }

  void start(std::vector<std::string> more = {}) {
    std::vector<std::string> words{"redis-server", "--bind", "127.0.0.1", "--port", std::to_string(port), "--save", "", "--appendonly", "no", "--dir", dir.path().string()};
    words.insert(words.end(), more.begin(), more.end());
    server = std::make_unique<ServerProcess>(words);
    wait_for_port(port);
  }
  void kill_server() {
    ::kill(server->pid(), SIGKILL);
    server.reset();
  }

  std::string url(std::string credentials = {}) const { return "redis://" + credentials + "127.0.0.1:" + std::to_string(port); }

  std::unique_ptr<Cache> open(RedisTimes times = {}, std::string credentials = {}) {
    return *make_redis_cache(loop.loop(), clock, {.url = url(std::move(credentials)), .times = times});
  }

  /// A command over a connection of its own, as an operator gives it; what it answers as text.
  std::string order(std::initializer_list<std::string_view> words) {
    RedisCommands operator_(loop.loop(), clock, *parse_redis_url(url()), {.answer = patience});
    auto answer = loop.run(operator_.run(resp_command(words)));
    return answer ? to_resp(*answer) : answer.error().message;
  }

  /// "value@sequence", "nothing" or the error's code.
  Task<std::string> get(Cache& cache, std::string key) {
    auto found = co_await cache.get(key);
    if (!found) co_return std::string(to_string(found.error().code));
    co_return *found ? (*found)->value + "@" + std::to_string((*found)->sequence) : "nothing";
  }
  std::string got(Cache& cache, std::string key = "k") { return loop.run(get(cache, std::move(key))); }

  std::string set(Cache& cache, std::int64_t sequence, std::string value = "v") {
    auto done = loop.run(cache.set_if_newer("k", {sequence, std::move(value)}, 1h));
    if (!done) return std::string(to_string(done.error().code));
    return *done ? "set" : "older";
  }

  template <class F>
  bool eventually(F holds) {
    for (auto until = clock.now() + patience; clock.now() < until; loop.run(sleep_for(clock, 5ms)))
      if (holds()) return true;
    return false;
  }
  template <class F>
  Duration time_of(F what) {
    auto began = clock.now();
    what();
    return clock.now() - began;
  }

  /// Publishes until the subscriber hears it: a subscription takes its time to reach Redis.
  bool hears(Cache& speaker, CacheSubscription& listener) {
    auto message = "message " + std::to_string(++messages_);
    return eventually([&] {
      (void)loop.run(speaker.publish("c", message));
      auto heard = loop.run(listener.next(clock.now() + 20ms));
      while (heard && *heard != message) heard = loop.run(listener.next(clock.now() + 20ms));
      return heard.has_value();
    });
  }

  TestLoop loop;
  SystemClock clock{loop.loop()};
  TempDir dir;
  int port = free_port();
  std::unique_ptr<ServerProcess> server;

 private:
  int messages_ = 0;
};

TEST_F(RedisFaults, OpeningNeedsNoServerAndFindsItWhenItComes) {
  auto cache = open(unhurried);
  EXPECT_EQ(got(*cache), "unavailable");
  EXPECT_LT(time_of([&] { EXPECT_EQ(got(*cache), "unavailable"); }), at_once);
  start();
  EXPECT_TRUE(eventually([&] { return got(*cache) == "nothing"; }));
}

TEST_F(RedisFaults, FlushedItHasForgottenAndGoesOn) {
  start();
  auto cache = open();
  auto listener = cache->subscribe("c");
  EXPECT_TRUE(hears(*cache, *listener));
  EXPECT_EQ(set(*cache, 7), "set");
  order({"FLUSHALL"});
  EXPECT_EQ(got(*cache), "nothing");
  EXPECT_EQ(set(*cache, 3), "set");
  EXPECT_TRUE(hears(*cache, *listener));
}

TEST_F(RedisFaults, ARestartCostsTimeOnly) {
  start();
  auto cache = open(unhurried);
  auto listener = cache->subscribe("c");
  EXPECT_TRUE(hears(*cache, *listener));
  EXPECT_EQ(set(*cache, 7), "set");
  order({"SHUTDOWN", "NOSAVE"});
  server.reset();
  EXPECT_TRUE(eventually([&] { return got(*cache) == "unavailable"; }));
  EXPECT_LT(time_of([&] { EXPECT_EQ(set(*cache, 8), "unavailable"); }), at_once);
  start();
  EXPECT_TRUE(eventually([&] { return got(*cache) == "nothing"; }));
  EXPECT_EQ(set(*cache, 3), "set");
  EXPECT_TRUE(hears(*cache, *listener)) << "the subscription is asked for again";
}

TEST_F(RedisFaults, KilledItIsAway) {
  start();
  auto cache = open();
  EXPECT_EQ(set(*cache, 7), "set");
  kill_server();
  EXPECT_TRUE(eventually([&] { return got(*cache) == "unavailable"; }));
  start();
  EXPECT_TRUE(eventually([&] { return got(*cache) == "nothing"; }));
}

TEST_F(RedisFaults, PausedItMakesNobodyHang) {
  start();
  auto cache = open(unhurried);
  auto listener = cache->subscribe("c");
  EXPECT_TRUE(hears(*cache, *listener));
  EXPECT_EQ(set(*cache, 7, "seven"), "set");
  ::kill(server->pid(), SIGSTOP);
  auto first = time_of([&] { EXPECT_EQ(got(*cache), "unavailable"); });
  EXPECT_LT(first, unhurried.answer + slack);
  EXPECT_LT(time_of([&] { EXPECT_EQ(got(*cache), "unavailable"); }), at_once) << "it is known to be away, though it accepts connections";
  EXPECT_EQ(loop.run(listener->next(clock.now() + 4s)), std::nullopt) << "long enough for the listener's connection to be given up too";
  ::kill(server->pid(), SIGCONT);
  EXPECT_TRUE(eventually([&] { return got(*cache) == "seven@7"; }));
  EXPECT_TRUE(hears(*cache, *listener));
}

TEST_F(RedisFaults, APauseIsNoticedBeforeAnybodyAsks) {
  start();
  auto cache = open(unhurried);
  EXPECT_EQ(got(*cache), "nothing");
  ::kill(server->pid(), SIGSTOP);
  loop.run(sleep_for(clock, 2 * (unhurried.idle + unhurried.answer)));
  EXPECT_LT(time_of([&] { EXPECT_EQ(got(*cache), "unavailable"); }), at_once);
  ::kill(server->pid(), SIGCONT);
}

TEST_F(RedisFaults, AConnectionResetInAPipelineMixesNothingUp) {
  start();
  auto cache = open({.answer = patience});
  constexpr int keys = 200;
  for (int i = 0; i < keys; ++i) ASSERT_TRUE(loop.run(cache->set_if_newer("k" + std::to_string(i), {i, std::to_string(i)}, 1h)));
  std::map<std::string, int> answers;
  auto ask = [&](int i) -> Task<void> {
    auto found = co_await get(*cache, "k" + std::to_string(i));
    if (found != "unavailable") EXPECT_EQ(found, std::to_string(i) + "@" + std::to_string(i));
    ++answers[found == "unavailable" ? "lost" : "answered"];
  };
  auto storm = [&]() -> Task<void> {
    RedisCommands operator_(loop.loop(), clock, *parse_redis_url(url()), {.answer = patience});
    Scope scope(loop.loop());
    for (int round = 0; round < 20; ++round) {
      for (int i = 0; i < keys; ++i) scope.spawn(ask(i));
      (void)co_await operator_.run(resp_command({"CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"}));
    }
    co_await scope.join();
  };
  loop.run(storm());
  EXPECT_EQ(answers["lost"] + answers["answered"], 20 * keys);
  EXPECT_GT(answers["lost"], 0) << "the reset came when nothing was on its way: the test shows nothing";
  EXPECT_GT(answers["answered"], 0);
  EXPECT_TRUE(eventually([&] { return got(*cache, "k5") == "5@5"; }));
}

TEST_F(RedisFaults, FlushedScriptsAreSentAgain) {
  start();
  auto cache = open();
  auto admitted = [&] { return loop.run(cache->admit("r", {.burst = 10, .each = 1h}, 1)).value_or(Admission{}).remaining; };
  EXPECT_EQ(set(*cache, 7), "set");
  EXPECT_EQ(admitted(), 9);
  order({"SCRIPT", "FLUSH"});
  EXPECT_EQ(set(*cache, 6), "older");
  EXPECT_EQ(admitted(), 8);
}

TEST_F(RedisFaults, WhatOthersLeftUnderAKeyGivesWay) {
  start();
  auto cache = open();
  for (auto* left : {"garbage", "", "1234567890123456789x", "99999999999999999999v"}) {
    order({"SET", "mayfly:value:k", left});
    EXPECT_EQ(got(*cache), "corrupt") << left;
  }
  EXPECT_EQ(set(*cache, 7), "older") << "twenty nines are above every sequence: remove() is the way out";
  ASSERT_TRUE(loop.run(cache->remove("k")));
  order({"RPUSH", "mayfly:value:k", "a list"});
  EXPECT_EQ(got(*cache), "unavailable");
  EXPECT_EQ(set(*cache, 7), "set");
  EXPECT_EQ(got(*cache), "v@7");
  order({"SET", "mayfly:rate:r", "garbage"});
  EXPECT_EQ(loop.run(cache->admit("r", {.burst = 3, .each = 1h}, 1))->remaining, 2);
}

TEST_F(RedisFaults, AFullRedisRefusesAndComesBack) {
  start();
  auto cache = open();
  order({"CONFIG", "SET", "maxmemory", "1"});
  EXPECT_EQ(set(*cache, 7), "unavailable");
  order({"CONFIG", "SET", "maxmemory", "0"});
  EXPECT_EQ(set(*cache, 7), "set");
}

TEST_F(RedisFaults, AReplicaIsLeftWhenItBecomesThePrimary) {
  start();
  auto cache = open();
  EXPECT_EQ(set(*cache, 7), "set");
  order({"REPLICAOF", "127.0.0.1", "1"});
  EXPECT_EQ(set(*cache, 8), "unavailable");
  order({"REPLICAOF", "NO", "ONE"});
  EXPECT_TRUE(eventually([&] { return set(*cache, 9) == "set"; }));
}

TEST_F(RedisFaults, PasswordsAreSentAndNeverShown) {
  start({"--requirepass", "hunter2", "--user", "ci", "on", ">hunter3", "~*", "&*", "+@all"});
  for (auto* credentials : {":hunter2@", "ci:hunter3@"}) {
    auto cache = open({}, credentials);
    EXPECT_EQ(got(*cache), "nothing") << credentials;
  }
  for (auto* credentials : {"", ":hunter4@", "ci:hunter4@"}) {
    auto cache = open({}, credentials);
    auto refused = loop.run(cache->get("k"));
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Errc::unavailable);
    EXPECT_EQ(refused.error().message.find("hunter"), std::string::npos) << refused.error().message;
    EXPECT_NE(refused.error().message.find("refuses"), std::string::npos) << refused.error().message;
  }
}

TEST_F(RedisFaults, ADatabaseIsChosen) {
  start();
  auto second = *make_redis_cache(loop.loop(), clock, {.url = url() + "/2"});
  EXPECT_EQ(set(*second, 7), "set");
  EXPECT_EQ(got(*open()), "nothing");
  EXPECT_EQ(got(*second), "v@7");
}

TEST_F(RedisFaults, WaitingCommandsAreLimited) {
  start();
  ::kill(server->pid(), SIGSTOP);
  RedisCommands commands(loop.loop(), clock, *parse_redis_url(url()), {}, {.max_waiting = 3});
  std::vector<std::string> errors;
  auto ask = [&]() -> Task<void> {
    auto answer = co_await commands.run(resp_command({"PING"}));
    errors.push_back(answer ? "answer" : answer.error().message);
  };
  auto story = [&]() -> Task<void> {
    Scope scope(loop.loop());
    for (int i = 0; i < 4; ++i) scope.spawn(ask());
    co_await scope.join();
  };
  loop.run(story());
  ::kill(server->pid(), SIGCONT);
  ASSERT_EQ(errors.size(), 4u);
  EXPECT_EQ(errors[0], "more than 3 commands wait for Redis") << "the fourth, at once";
  for (int i = 1; i < 4; ++i) EXPECT_EQ(errors[std::size_t(i)], "Redis has not answered within 500ms");
}

TEST_F(RedisFaults, ValuesAndMessagesAreLimited) {
  start();
  auto cache = *make_redis_cache(loop.loop(), clock, {.url = url(), .max_value_bytes = 100});
  EXPECT_EQ(set(*cache, 1, std::string(100, 'x')), "set");
  EXPECT_EQ(set(*cache, 2, std::string(101, 'x')), "too_large");
  EXPECT_TRUE(loop.run(cache->publish("c", std::string(100, 'x'))));
  EXPECT_EQ(loop.run(cache->publish("c", std::string(101, 'x'))).error().code, Errc::too_large);
}

TEST_F(RedisFaults, OverTlsAServerIsTrustedThatItsAuthorityVouchesFor) {
  auto certificate = dir.path().string() + "/redis.crt", key = dir.path().string() + "/redis.key";
  auto make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=redis -addext subjectAltName=IP:127.0.0.1 -days 1 -keyout " + key +
              " -out " + certificate + " 2>/dev/null";
  ASSERT_EQ(std::system(make.c_str()), 0);
  server = std::make_unique<ServerProcess>(std::vector<std::string>{"redis-server", "--bind", "127.0.0.1", "--port", "0", "--tls-port", std::to_string(port), "--tls-cert-file", certificate,
                                                                    "--tls-key-file", key, "--tls-ca-cert-file", certificate, "--tls-auth-clients", "no", "--save", "", "--dir", dir.path().string()});
  wait_for_port(port);
  std::ostringstream authority;
  authority << std::ifstream(certificate).rdbuf();
  auto secured = [&](std::string_view host, std::string authorities) {
    return *make_redis_cache(loop.loop(), clock, {.url = "rediss://" + std::string(host) + ":" + std::to_string(port), .authorities = std::move(authorities), .times = unhurried});
  };
  auto cache = secured("127.0.0.1", authority.str());
  EXPECT_EQ(set(*cache, 1), "set");
  EXPECT_EQ(got(*cache), "v@1");
  EXPECT_EQ(set(*cache, 2, std::string(1 << 20, 'x')), "set") << "more than one TLS record";
  EXPECT_EQ(got(*secured("127.0.0.1", "")), "unavailable") << "nobody vouches for it";
  EXPECT_EQ(got(*secured("localhost", authority.str())), "unavailable") << "it is vouched for under another name";
  EXPECT_EQ(got(*make_redis_cache(loop.loop(), clock, {.url = url(), .times = unhurried}).value()), "unavailable") << "it does not speak in the clear";
}

TEST_F(RedisFaults, AnotherServersLanguageIsNotTakenForRedis) {
  constexpr std::string_view program = R"python(
import socket, sys
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("ready", flush=True)
while True:
    connection, _ = listener.accept()
    connection.sendall(sys.argv[2].encode().decode("unicode_escape").encode())
    connection.recv(1000)
    connection.close()
)python";
  for (auto* says : {R"(HTTP/1.1 400 Bad Request\r\n\r\n)", R"(+PONG\r\n+PONG\r\n)", R"(*2\r\n:1\r\n:2\r\n+PONG\r\n)", R"($999999999999\r\n)", ""}) {
    ServerProcess other({"python3", "-c", std::string(program), std::to_string(port), says});
    ASSERT_EQ(other.line(), "ready");
    auto cache = open();
    auto listener = cache->subscribe("c");
    auto answer = got(*cache);
    EXPECT_TRUE(answer == "unavailable" || answer == "corrupt") << says << ": " << answer;
    EXPECT_EQ(loop.run(listener->next(clock.now() + 50ms)), std::nullopt);
  }
}

}  // namespace
}  // namespace mayfly
