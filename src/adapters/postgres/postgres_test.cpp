// What only PostgreSQL has: sessions, batches, locks, limits. The port's own law is in tests/contract.

#include "adapters/postgres/test_postgres.h"

namespace mayfly::postgres {
namespace {

using namespace std::chrono_literals;
using namespace std::string_literals;
using testing::HasSubstr;
using testing::Not;

using Pool = OnSharedServer;

TEST_F(Pool, UnitsThatWaitTogetherShareOneTransaction) {
  auto db = connect({.writers = 1});
  std::vector<std::vector<Statement>> units;
  for (int i = 0; i < 200; ++i) units.push_back({expect_one(insert, i, "x")});
  for (auto& result : place->at_once(*db, units)) EXPECT_TRUE(result);
  EXPECT_EQ(place->number(*db, count_all), 200);
  EXPECT_LE(place->number(*db, "SELECT count(DISTINCT xmin::text) FROM things"), 3);
}

TEST_F(Pool, AGuiltyUnitLeavesItsNeighboursInTheBatchAlone) {
  auto db = connect({.writers = 1});
  ASSERT_TRUE(place->transact(*db, {statement(insert, 1000, "taken")}));
  for (int guilty : {0, 1, 2, 3, 20}) {
    std::vector<std::vector<Statement>> units;
    for (int i = 0; i < 60; ++i) {
      auto id = guilty * 100 + i;
      if (i % 2 == 1 && i / 2 < guilty) units.push_back({statement(insert, id, "x"), i % 4 == 1 ? statement(insert, 1000, "twice") : expect_one(add_one, 7777)});
      else units.push_back({statement(insert, id, "x"), expect_one(add_one, id)});
    }
    auto before = place->number(*db, count_all);
    auto results = place->at_once(*db, units);
    for (int i = 0; i < 60; ++i) {
      EXPECT_EQ(results[std::size_t(i)].has_value(), !(i % 2 == 1 && i / 2 < guilty)) << guilty << " guilty, unit " << i;
      if (!results[std::size_t(i)]) {
        EXPECT_EQ(results[std::size_t(i)].error().code, Errc::conflict);
      }
    }
    EXPECT_EQ(place->number(*db, count_all) - before, 60 - guilty);
  }
}

TEST_F(Pool, ADeferredConstraintUndoesOnlyItsOwnUnit) {
  auto db = connect({.writers = 1});
  // Speaks up only at the COMMIT that all of them share.
  for (bool silent : {false, true}) {
    std::vector<std::vector<Statement>> units;
    int first = silent ? 100 : 1;
    for (int i = 0; i < 20; ++i) units.push_back({i % 4 == 3 ? statement(insert_child, first + i, 5000) : statement(insert, first + i, "fine")});
    auto results = place->at_once(*db, units);
    for (int i = 0; i < 20; ++i) {
      EXPECT_EQ(results[std::size_t(i)].has_value(), i % 4 != 3) << i;
      if (!results[std::size_t(i)]) {
        EXPECT_EQ(results[std::size_t(i)].error().code, Errc::conflict);
      }
    }
  }
  EXPECT_EQ(place->number(*db, count_all), 30);
}

TEST_F(Pool, WhoeverWritesTheSameRowsLosesNothing) {
  // Two processes, units that take the same rows in opposite orders: rings of locks, broken by the server.
  PostgresOptions options{.url = place->schema.url(application) + "%20-cdeadlock_timeout%3D20ms"};
  options.url = place->schema.url(application);
  auto at = options.url.find("&application_name");
  options.url.insert(at, "%20-cdeadlock_timeout%3D20ms");
  auto one = connect(options), other = connect(options);
  for (int id : {1, 2, 3}) ASSERT_TRUE(place->transact(*one, {statement(insert, id, "x")}));
  int done = 0;
  auto writer = [&](Database& db, int i) -> Task<void> {
    for (int round = 0; round < 5; ++round) {
      int a = 1 + i % 3, b = 1 + (i + 1 + i % 2) % 3;
      std::vector<Statement> unit{expect_one(add_one, a), expect_one(add_one, b)};
      if (co_await db.transact(std::move(unit))) ++done;
    }
  };
  auto all = [&]() -> Task<void> {
    Scope scope(place->loop.loop());
    for (int i = 0; i < 24; ++i) scope.spawn(writer(i % 2 ? *one : *other, i));
    co_await scope.join();
  };
  place->loop.run(all());
  EXPECT_EQ(done, 120) << "a deadlock is tried again";
  EXPECT_EQ(place->number(*other, total), 240);
}

TEST_F(Pool, AnswersComeToWhoAsked) {
  auto db = connect({.readers = 2});
  int right = 0;
  auto ask = [&](std::int64_t i) -> Task<void> {
    constexpr std::string_view echo = "SELECT $1 + 0::bigint, repeat('x', ($1 % 7)::int)";
    auto rows = co_await db->query(statement(echo, i));
    if (rows && int_at(rows->rows.at(0), 0) == i && text_at(rows->rows.at(0), 1).size() == std::size_t(i % 7)) ++right;
  };
  auto all = [&]() -> Task<void> {
    Scope scope(place->loop.loop());
    for (int i = 0; i < 500; ++i) scope.spawn(ask(i));
    co_await scope.join();
  };
  place->loop.run(all());
  EXPECT_EQ(right, 500);
}

TEST_F(Pool, AQuestionThatIsWrongDoesNotHarmThoseBesideIt) {
  auto db = connect({.readers = 1});
  std::vector<Errc> wrong(20, Errc::canceled);
  int right = 0;
  auto ask = [&](std::size_t i) -> Task<void> {
    constexpr std::string_view bad = "SELECT nothing FROM nowhere";
    if (i % 2) {
      auto rows = co_await db->query(statement(count_all));
      right += rows.has_value();
    } else {
      wrong[i] = (co_await db->query(statement(bad))).error().code;
    }
  };
  auto all = [&]() -> Task<void> {
    Scope scope(place->loop.loop());
    for (std::size_t i = 0; i < wrong.size(); ++i) scope.spawn(ask(i));
    co_await scope.join();
  };
  place->loop.run(all());
  EXPECT_EQ(right, 10);
  for (std::size_t i = 0; i < wrong.size(); i += 2) EXPECT_EQ(wrong[i], Errc::internal) << i;
}

TEST_F(Pool, SoManyUnitsMayWaitAndOneMoreMayNot) {
  auto db = connect({.writers = 1, .max_queued_units = 4});
  ASSERT_TRUE(place->transact(*db, {statement(insert, 0, "x")}));
  PostgresSession other(place->schema.url("other")), watcher(place->schema.url("watcher"));
  other.run("begin; lock table things in access exclusive mode");
  std::vector<std::vector<Statement>> units;
  for (int i = 1; i <= 6; ++i) units.push_back({expect_one(insert, i, "x")});
  auto results = place->at_once(*db, units, [&]() -> Task<void> {
    (void)co_await place->until(watcher, sessions("wait_event_type = 'Lock'"));
    other.run("commit");
  });
  // The first runs, four wait, and the sixth is one too many.
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(results[std::size_t(i)]) << i;
  ASSERT_FALSE(results[5]);
  EXPECT_EQ(results[5].error().code, Errc::unavailable);
  EXPECT_EQ(place->number(*db, count_all), 6);
}

TEST_F(Pool, SoManyBytesMayWaitAndOneMoreMayNot) {
  auto size_of_one = sizeof(Statement) + 2 * sizeof(Value) + 1000;
  auto db = connect({.writers = 1, .max_queued_bytes = size_of_one});
  EXPECT_TRUE(place->transact(*db, {statement(insert, 1, std::string(1000, 'x'))}));
  auto refused = place->transact(*db, {statement(insert, 2, std::string(1001, 'x'))});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::unavailable);
}

TEST_F(Pool, SoManyReadsMayWaitAndOneMoreMayNot) {
  auto db = connect({.readers = 1, .max_queued_reads = 0});
  auto refused = place->loop.run(db->query(statement(count_all)));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::unavailable);
}

TEST_F(Pool, ALongTransactionOfSomebodyElseStopsNobody) {
  auto db = connect();
  ASSERT_TRUE(place->transact(*db, {statement(insert, 1, "x")}));
  PostgresSession other(place->schema.url("other"));
  other.run("begin isolation level repeatable read");
  EXPECT_EQ(other.run("select count from things"), "0");
  for (int i = 0; i < 50; ++i) ASSERT_TRUE(place->transact(*db, {expect_one(add_one, 1)}));
  EXPECT_EQ(place->number(*db, total), 50);
  EXPECT_EQ(other.run("select count from things"), "0") << "it sees its own moment still";
}

TEST_F(Pool, AStatementThatTakesTooLongIsCanceledAndTheNextGoesOn) {
  auto db = connect({.readers = 1, .writers = 1, .statement_timeout = 50ms});
  constexpr std::string_view slow = "SELECT count(*) FROM pg_sleep(30)";
  auto late = place->loop.run(db->query(statement(slow)));
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, Errc::unavailable);
  EXPECT_THAT(late.error().hint, HasSubstr("statement_timeout"));
  late.emplace();
  auto unit = place->transact(*db, {statement(insert, 1, "x"), statement(slow)});
  ASSERT_FALSE(unit);
  EXPECT_EQ(unit.error().code, Errc::unavailable);
  EXPECT_EQ(place->number(*db, count_all), 0);
}

TEST_F(Pool, WhoeverLeadsAndIsCanceledBringsItsBatchHome) {
  auto db = connect({.writers = 1});
  ASSERT_TRUE(place->transact(*db, {statement(insert, 0, "x")}));
  PostgresSession other(place->schema.url("other")), watcher(place->schema.url("watcher"));
  other.run("begin; lock table things in access exclusive mode");
  int done = 0, went_on = 0;
  auto writer = [&](int i) -> Task<void> {
    std::vector<Statement> unit{expect_one(insert, i, "x")};
    if (co_await db->transact(std::move(unit))) ++done;
    co_await throw_if_canceled();
    ++went_on;
  };
  auto all = [&]() -> Task<void> {
    Scope doomed(place->loop.loop()), others(place->loop.loop());
    doomed.spawn(writer(1));
    for (int i = 2; i < 12; ++i) others.spawn(writer(i));
    (void)co_await place->until(watcher, sessions("wait_event_type = 'Lock'"));
    doomed.cancel();
    other.run("commit");
    co_await others.join();
    co_await doomed.join();
  };
  place->loop.run(all());
  EXPECT_EQ(done, 11);
  EXPECT_EQ(went_on, 10) << "the canceled one ended where it was canceled";
  EXPECT_EQ(place->number(*db, count_all), 12);
}

TEST_F(Pool, ForgetsTheStatementUnusedForLongest) {
  auto db = connect({.readers = 1, .writers = 1});
  std::vector<std::string> texts;
  for (std::size_t i = 0; i < 600; ++i) texts.push_back("SELECT " + std::to_string(i) + "::bigint");
  for (int round = 0; round < 2; ++round)
    for (std::size_t i = 0; i < texts.size(); ++i) ASSERT_EQ(place->number(*db, texts[i]), std::int64_t(i));
  EXPECT_LE(place->number(*db, "SELECT count(*) FROM pg_prepared_statements"), 257);
}

TEST_F(Pool, APreparationThatTheServerForgotIsMadeAgain) {
  auto db = connect({.readers = 1, .writers = 1});
  ASSERT_TRUE(place->transact(*db, {statement(insert, 1, "x")}));
  ASSERT_EQ(place->number(*db, count_all), 1);
  constexpr std::string_view forget = "DEALLOCATE ALL";
  ASSERT_TRUE(place->transact(*db, {statement(forget)}));
  EXPECT_TRUE(place->transact(*db, {statement(insert, 2, "x")}));
  EXPECT_EQ(place->number(*db, count_all), 2);
}

TEST_F(Pool, RefusesWhatIsNoStatementOfThePort) {
  auto db = connect();
  for (auto& bad : {statement("SELECT ?", 1), statement("SELECT $2::text", 1, 2), statement("SELECT $1::text"), statement("SELECT 1", 1),
                    statement("SELECT 1; SELECT 2"), statement(""), statement("-- nothing"), statement("SELECT 1.5"), statement("SELECT now()"),
                    statement("SELECT $1::text", Value("a\0b"s)), statement("SELECT $1::text", Value("\xe9t\xe9"s)),
                    statement("SELECT $1::bigint", "hunter2"), statement("COPY things TO STDOUT")}) {
    auto read = place->loop.run(db->query(bad));
    auto written = place->transact(*db, {bad});
    ASSERT_FALSE(read || written) << bad.sql;
    for (auto& error : {read.error(), written.error()}) {
      EXPECT_EQ(error.code, Errc::internal) << bad.sql << ": " << error.message;
      EXPECT_THAT(error.message, Not(HasSubstr("hunter2")));
    }
  }
  EXPECT_EQ(place->number(*db, "SELECT 1;  \n"), 1);
}

TEST_F(Pool, NumbersOfEveryKindAreNumbers) {
  auto db = connect();
  for (auto [sql, expected] : std::vector<std::pair<std::string_view, std::int64_t>>{
           {"SELECT true", 1}, {"SELECT 1 > 2", 0}, {"SELECT (-7)::smallint", -7}, {"SELECT 70000", 70000}, {"SELECT 1::oid", 1},
           {"SELECT sum(v) FROM (VALUES (9223372036854775806::bigint), (1)) AS t (v)", INT64_MAX}, {"SELECT -9223372036854775808::numeric", INT64_MIN},
           {"SELECT 10000::numeric", 10000}, {"SELECT 0::numeric", 0}, {"SELECT 100000000.00::numeric", 100000000}, {"SELECT -20001::numeric", -20001},
           {"SELECT CASE WHEN 1 = 1 THEN 3 ELSE 4 END", 3}})
    EXPECT_EQ(place->number(*db, sql), expected) << sql;
  for (auto sql : {"SELECT 9223372036854775808::numeric", "SELECT 'NaN'::numeric", "SELECT 0.5::numeric", "SELECT 1e30::numeric"})
    EXPECT_EQ(place->loop.run(db->query({sql, {}})).error().code, Errc::internal) << sql;
}

TEST_F(Pool, SaysWhyItCannotOpenAndNeverThePassword) {
  auto open = [&](std::string url) {
    auto opened = open_postgres(place->loop.loop(), place->clock, {.url = std::move(url), .connect_timeout = 2s}, {things});
    return opened ? Error{} : opened.error();
  };
  for (std::string url : {"postgresql://mayfly:hunter2@127.0.0.1:1/postgres", "postgresql://mayfly:hunter2@host.invalid/postgres"}) {
    auto error = open(url);
    EXPECT_EQ(error.code, Errc::unavailable) << error.message;
    EXPECT_THAT(error.message + error.hint, Not(HasSubstr("hunter2")));
  }
  auto nobody = open("postgresql://mayfly:hunter2@127.0.0.1:1/postgres?nothing=known");
  EXPECT_EQ(nobody.code, Errc::invalid);
  EXPECT_THAT(nobody.message + nobody.hint, Not(HasSubstr("hunter2")));
  EXPECT_EQ(open("hunter2 at somewhere").code, Errc::invalid);
}

}  // namespace
}  // namespace mayfly::postgres
