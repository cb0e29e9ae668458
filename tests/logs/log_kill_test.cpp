// The log path over Kafka, Redis, PostgreSQL and S3, in processes: runners ship and viewers follow while gateways and aggregators
// are killed and stopped at random moments. Byte for byte.

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <random>

#include "adapters/kafka/test_kafka.h"
#include "async/scope.h"
#include "base/log.h"
#include "domain/runner/protocol.h"
#include "logs/log_servers.h"
#include "net/http.h"
#include "roles/logs/log_chunks.h"
#include "roles/logs/log_wire.h"
#include "support/postgres.h"
#include "support/run.h"
#include "support/server_process.h"

namespace mayfly::log_test {
namespace {

using namespace std::chrono_literals;

constexpr int runners = 4, gateways = 2, aggregators = 2;
constexpr Duration malice = 25s, patience = 120s;
constexpr std::string_view all_chunks = "select attempt_id, first_offset, length from log_chunks order by attempt_id, first_offset";

struct Node {
  std::string role;
  std::unique_ptr<ServerProcess> process;
  std::string says;

  void start() {
    process = std::make_unique<ServerProcess>(std::vector<std::string>{MAYFLY_LOG_NODE, role});
    says = process->line();
  }
};

struct Written {
  AttemptId attempt;
  std::string text;
  bool ended = false;
};

class LogPathOnServers : public testing::Test {
 protected:
  void SetUp() override {
    for (auto* server : {"MAYFLY_TEST_POSTGRES", "MAYFLY_TEST_REDIS", "MAYFLY_TEST_KAFKA", "MAYFLY_TEST_S3"})
      if (environment(server).empty()) GTEST_SKIP() << server << " is not set: scripts/servers up postgres redis kafka s3 && eval \"$(scripts/servers env)\"";
    set_log_level(Level::error);
    prefix = std::make_unique<kafka::TestPrefix>();
    schema = std::make_unique<PostgresSchema>();
    name = prefix->name();
    name.pop_back();   // the dot is added again for Kafka
    ::setenv("MAYFLY_LOG_TEST_NAME", name.c_str(), 1);
    ::setenv("MAYFLY_LOG_TEST_POSTGRES", schema->url().c_str(), 1);
    servers = std::make_unique<Servers>(loop.loop());
    for (int i = 0; i < gateways; ++i) nodes.push_back({.role = "gateway", .process = {}, .says = {}});
    for (int i = 0; i < aggregators; ++i) nodes.push_back({.role = "aggregator", .process = {}, .says = {}});
    for (auto& node : nodes) node.start();
  }
  void TearDown() override {
    for (auto& node : nodes)
      if (node.process) ::kill(node.process->pid(), SIGCONT);
    nodes.clear();
    if (servers) loop.run(clean());
    servers.reset();
    schema.reset();
  }
  Task<void> clean() {
    for (;;) {
      auto left = co_await servers->blobs->list("", "", 1000);
      if (!left || left->empty()) co_return;
      for (auto& info : *left) (void)co_await servers->blobs->remove(info.key);
    }
  }

  std::uint64_t below(std::uint64_t n) { return random() % n; }

  /// Asks one gateway after the other until one answers.
  Task<http::ClientResponse> ask(std::size_t& at, std::string method, std::string path, std::string body) {
    for (;;) {
      http::ClientRequest request{.method = method, .url = nodes[at].says + path, .deadline = servers->clock.now() + 15s};
      request.body = body;
      auto answer = co_await servers->client.send(std::move(request));
      if (answer && answer->status < 500) co_return *std::move(answer);
      at = (at + 1) % gateways;
      co_await sleep_for(servers->clock, 20ms);
    }
  }

  Task<void> ship(Written& log, std::int64_t& at, std::int64_t& durable, std::size_t& gateway) {
    while (at < std::int64_t(log.text.size())) {
      auto piece = std::string_view(log.text).substr(std::size_t(at), 1 << 20);
      auto answer = co_await ask(gateway, "POST", "/append/" + log.attempt.str(), frames_of(at, piece, servers->clock.now()));
      auto taken = logs_answer_from_json(answer.body);
      if (!taken) {
        ADD_FAILURE() << answer.status << " " << answer.body;
        co_return;
      }
      durable = std::max(durable, taken->durable);
      if (taken->next < at) ++rewinds;
      at = std::min(taken->next, at + std::int64_t(piece.size()));
      EXPECT_GE(at, std::min(durable, at)) << "bytes are asked for that were durable";
    }
  }

  Task<void> runner(Written& log) {
    std::size_t gateway = below(gateways);
    std::int64_t at = 0, durable = 0;
    for (auto until = servers->clock.now() + malice; servers->clock.now() < until;) {
      for (auto words = below(100) == 0 ? below(150'000) : below(150); words > 0; --words)
        log.text += std::to_string(random()).substr(0, 19) + (below(4) ? " " : "\n");
      co_await ship(log, at, durable, gateway);
      co_await sleep_for(servers->clock, Duration(below(40'000)));
    }
    co_await finish(log, at, durable, gateway);
  }

  Task<void> finish(Written& log, std::int64_t& at, std::int64_t& durable, std::size_t& gateway) {
    for (;;) {
      auto answer = co_await ask(gateway, "POST", "/complete/" + log.attempt.str() + "?bytes=" + std::to_string(log.text.size()), {});
      if (answer.ok()) break;
      ++refusals;
      auto position = co_await ask(gateway, "POST", "/append/" + log.attempt.str(), {});
      auto wanted = logs_answer_from_json(position.body);
      if (!wanted) co_return;
      durable = std::max(durable, wanted->durable);
      at = wanted->next < at ? wanted->next : durable;
      co_await ship(log, at, durable, gateway);
    }
    log.ended = true;
  }

  Task<void> viewer(const Written& log, std::string& seen) {
    std::size_t gateway = below(gateways);
    while (!log.ended || seen.size() < log.text.size()) {
      if (below(200) == 0) gateway = (gateway + 1) % gateways;
      auto answer = co_await ask(gateway, "GET", "/follow/" + log.attempt.str() + "?from=" + std::to_string(seen.size()), {});
      if (!answer.ok()) continue;
      if (std::string_view(log.text).substr(seen.size(), answer.body.size()) != answer.body) {
        ADD_FAILURE() << "a viewer saw what was not written at " << seen.size();
        co_return;
      }
      seen += answer.body;
    }
  }

  /// kill -9, and a new one.
  Task<void> kill_some() {
    for (auto until = servers->clock.now() + malice; servers->clock.now() < until; ++kills) {
      co_await sleep_for(servers->clock, 100ms + Duration(below(1'500'000)));
      auto& node = nodes[below(nodes.size())];
      ::kill(node.process->pid(), SIGKILL);
      node.start();
    }
  }

  /// SIGSTOP, now and then for longer than the bus waits.
  Task<void> stop_some() {
    for (auto until = servers->clock.now() + malice; servers->clock.now() < until; ++stops) {
      co_await sleep_for(servers->clock, Duration(below(4'000'000)));
      auto pid = nodes[below(nodes.size())].process->pid();
      ::kill(pid, SIGSTOP);
      co_await sleep_for(servers->clock, Duration(below(9'000'000)));
      ::kill(pid, SIGCONT);
    }
  }

  Task<void> story() {
    Scope all(loop.loop());
    for (int i = 0; i < runners; ++i) logs.push_back(std::make_unique<Written>(Written{.attempt = make_id<AttemptId>(servers->clock, servers->entropy), .text = {}}));
    std::vector<std::string> seen(runners);
    all.spawn(kill_some());
    all.spawn(stop_some());
    for (int i = 0; i < runners; ++i) {
      all.spawn(runner(*logs[std::size_t(i)]));
      all.spawn(viewer(*logs[std::size_t(i)], seen[std::size_t(i)]));
    }
    all.spawn(give_up());
    auto finished = [&] { return std::ranges::all_of(logs, [](auto& log) { return log->ended; }); };
    while (!finished() && !late) co_await sleep_for(servers->clock, 50ms);
    while (!late && !std::ranges::equal(seen, logs, {}, {}, [](auto& log) -> const std::string& { return log->text; })) co_await sleep_for(servers->clock, 50ms);
    EXPECT_FALSE(late) << "not everything has ended";
    all.cancel();
    co_await all.join();
    co_await judge();
  }

  Task<void> give_up() {
    co_await sleep_for(servers->clock, malice + patience);
    late = true;
  }

  Task<void> judge() {
    LogChunks chunks(*servers->db, *servers->blobs, servers->clock);
    for (auto& log : logs) {
      bytes += log->text.size();
      auto kept = co_await chunks.read(log->attempt, 0, 512 << 20);
      EXPECT_TRUE(kept && *kept == log->text) << "the log is not what was written: " << (kept ? std::to_string(kept->size()) : kept.error().message) << " of " << log->text.size();
    }
    auto rows = co_await servers->db->query(statement(all_chunks));
    std::map<std::string, std::int64_t> ends;
    for (auto& row : rows->rows) {
      EXPECT_EQ(int_at(row, 1), ends[text_at(row, 0)]) << "chunks overlap or leave a hole";
      ends[text_at(row, 0)] = int_at(row, 1) + int_at(row, 2);
    }
  }

  std::string name;
  TestLoop loop;
  std::mt19937_64 random{std::random_device{}()};
  std::unique_ptr<kafka::TestPrefix> prefix;
  std::unique_ptr<PostgresSchema> schema;
  std::unique_ptr<Servers> servers;
  std::vector<Node> nodes;
  std::vector<std::unique_ptr<Written>> logs;
  bool late = false;
  int kills = 0, stops = 0, rewinds = 0, refusals = 0;
  std::size_t bytes = 0;
};

TEST_F(LogPathOnServers, EveryByteArrivesOnceWhileNodesAreKilledAndStopped) {
  loop.run(story());
  std::printf("%.1f MB; %d kills, %d stops; %d rewinds, %d refused ends\n", double(bytes) / 1e6, kills, stops, rewinds, refusals);
  EXPECT_GT(kills, 0);
}

}  // namespace
}  // namespace mayfly::log_test
