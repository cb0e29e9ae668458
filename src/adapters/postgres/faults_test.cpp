// Sessions that end, servers that are killed: what was acknowledged is there, what was refused is not, and what nobody knows is
// said so.

#include <set>

#include "adapters/postgres/test_postgres.h"
#include "async/offload.h"

namespace mayfly::postgres {
namespace {

using namespace std::chrono_literals;

using Sessions = OnSharedServer;

TEST_F(Sessions, AReadWhoseSessionIsEndedIsAskedAgain) {
  auto db = connect({.readers = 1});
  ASSERT_TRUE(place->transact(*db, {statement(insert, 1, "x")}));
  PostgresSession other(place->schema.url("other")), watcher(place->schema.url("watcher"));
  other.run("begin; lock table things in access exclusive mode");
  Result<Rows> answer;
  auto ask = [&]() -> Task<void> { answer = co_await db->query(statement(count_all)); };
  auto all = [&]() -> Task<void> {
    Scope scope(place->loop.loop());
    scope.spawn(ask());
    (void)co_await place->until(watcher, terminate("wait_event_type = 'Lock'"));
    other.run("commit");
    co_await scope.join();
  };
  place->loop.run(all());
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(int_at(answer->rows.at(0), 0), 1);
}

TEST_F(Sessions, AUnitWhoseSessionIsEndedBeforeItsCommitRunsOnceMore) {
  auto db = connect({.writers = 1});
  ASSERT_TRUE(place->transact(*db, {statement(insert, 1, "x")}));
  PostgresSession other(place->schema.url("other")), watcher(place->schema.url("watcher"));
  for (int ended : {1, 2}) {
    other.run("begin; update things set count = count where id = 1");
    auto results = place->at_once(*db, {{expect_one(add_one, 1)}}, [&]() -> Task<void> {
      for (int i = 0; i < ended; ++i) (void)co_await place->until(watcher, terminate("wait_event_type = 'Lock'"));
      other.run("commit");
    });
    EXPECT_EQ(results[0].has_value(), ended == 1);
    if (!results[0]) {
      EXPECT_EQ(results[0].error().code, Errc::unavailable) << results[0].error().message;
    }
  }
  EXPECT_EQ(place->number(*db, total), 1);
}

TEST_F(Sessions, ThatAreEndedWhileNobodyAsksAreReplacedUnseen) {
  auto db = connect();
  ASSERT_TRUE(place->transact(*db, {statement(insert, 1, "x")}));
  PostgresSession other(place->schema.url("other"));
  for (int i = 0; i < 3; ++i) {
    EXPECT_NE(other.run(terminate("true")), "");
    EXPECT_EQ(place->number(*db, count_all), 1);
    // Whether the end of its session has been heard of is a race; what is answered is true either way.
    auto done = place->transact(*db, {expect_one(add_one, 1)});
    EXPECT_TRUE(done) << done.error().message;
  }
  EXPECT_EQ(place->number(*db, total), 3);
}

/// A server that may be killed.
class OwnServer : public testing::Test {
 protected:
  void SetUp() override {
    if (test_postgres().empty()) GTEST_SKIP() << how_to_have_postgres;
    server = std::make_unique<PostgresServer>();
    place.emplace(server->url());
  }
  void TearDown() override {
    place.reset();
    server.reset();
  }

  std::unique_ptr<PostgresServer> server;
  std::optional<Place> place;
};

TEST_F(OwnServer, ACommitThatIsCutOffIsUnknownAndMayHaveHappened) {
  auto db = place->connect({.writers = 1});
  PostgresSession other(server->url());
  ASSERT_TRUE(place->transact(*db, {statement(insert, 1, "x")}));
  // A standby that never comes: each commit is on the disk, and waits.
  auto set_standby = [&](const std::string& names) {
    other.run("alter system set synchronous_standby_names = '" + names + "'");
    other.run("select pg_reload_conf()");
  };
  set_standby("nobody");
  for (auto& unit : {std::vector{expect_one(insert, 2, "looked at before COMMIT")}, std::vector{statement(insert, 3, "sent with its COMMIT")}}) {
    auto results = place->at_once(*db, {unit}, [&]() -> Task<void> {
      (void)co_await place->until(other, "select pg_terminate_backend(pid) from pg_stat_activity where wait_event = 'SyncRep'");
    });
    ASSERT_FALSE(results[0]);
    EXPECT_EQ(results[0].error().code, Errc::timeout) << results[0].error().message;
  }
  set_standby("");
  EXPECT_EQ(place->number(*db, count_all), 3) << "it did happen";
  EXPECT_TRUE(place->transact(*db, {expect_one(insert, 4, "x")}));
}

TEST_F(OwnServer, KilledAndStartedAgainHasWhatWasAcknowledged) {
  auto db = place->connect({.patience = 20s});
  std::set<std::int64_t> acknowledged, refused, unknown;
  std::int64_t next = 0;
  bool stop = false;
  auto writer = [&]() -> Task<void> {
    while (!stop) {
      auto id = ++next;
      std::vector<Statement> unit{statement(insert, id, std::string(200, 'x'))};
      if (id % 2) unit.push_back(expect_one(add_one, id));
      auto done = co_await db->transact(std::move(unit));
      if (done) acknowledged.insert(id);
      else if (done.error().code == Errc::timeout) unknown.insert(id);
      else if (done.error().code == Errc::unavailable) refused.insert(id);
      else ADD_FAILURE() << done.error().message;
    }
  };
  auto kills = [&]() -> Task<void> {
    auto elsewhere = make_thread_offload(1);
    for (int i = 0; i < 3; ++i) {
      auto before = acknowledged.size();
      while (acknowledged.size() < before + 100) co_await sleep_for(place->clock, 5ms);
      co_await offload(*elsewhere, [&] { server->kill(), server->start(); });
    }
    auto before = acknowledged.size();
    while (acknowledged.size() < before + 100) co_await sleep_for(place->clock, 5ms);
    stop = true;
  };
  auto all = [&]() -> Task<void> {
    Scope scope(place->loop.loop());
    for (int i = 0; i < 16; ++i) scope.spawn(writer());
    scope.spawn(kills());
    co_await scope.join();
  };
  place->loop.run(all());

  auto rows = place->loop.run(db->query(statement("SELECT id FROM things"))).value();
  std::set<std::int64_t> there;
  for (auto& row : rows.rows) there.insert(int_at(row, 0));
  for (auto id : acknowledged) EXPECT_TRUE(there.contains(id)) << "acknowledged and lost: " << id;
  for (auto id : refused) EXPECT_FALSE(there.contains(id)) << "refused and there: " << id;
  EXPECT_EQ(there.size() <= acknowledged.size() + unknown.size(), true);
  EXPECT_GE(acknowledged.size(), 400u);
}

TEST_F(OwnServer, ThatStaysAwayIsSaidAfterAWhileAndThenAtOnce) {
  auto db = place->connect({.patience = 300ms});
  ASSERT_TRUE(place->transact(*db, {statement(insert, 1, "x")}));
  server->stop();
  for (int i = 0; i < 2; ++i) {
    auto began = std::chrono::steady_clock::now();
    auto read = place->loop.run(db->query(statement(count_all)));
    auto unit = place->transact(*db, {statement(insert, 2, "x")});
    ASSERT_FALSE(read || unit);
    EXPECT_EQ(read.error().code, Errc::unavailable);
    EXPECT_EQ(unit.error().code, Errc::unavailable);
    EXPECT_LT(std::chrono::steady_clock::now() - began, 20s);
  }
  server->start();
  auto come_back = [&]() -> Task<void> {
    for (;;) {
      if (co_await db->query(statement(count_all))) break;
      co_await sleep_for(place->clock, 10ms);
    }
  };
  place->loop.run(come_back());
  EXPECT_EQ(place->number(*db, count_all), 1);
}

}  // namespace
}  // namespace mayfly::postgres
