#include "adapters/postgres/migrate.h"

#include "adapters/postgres/test_postgres.h"

namespace mayfly::postgres {
namespace {

TEST(ConditionalComments, AreOpened) {
  EXPECT_EQ(opened("create table t (a text) /*postgres: partition by range (a) */;"), "create table t (a text)  partition by range (a) ;");
  EXPECT_EQ(opened("/*postgres:a*//* other *//*postgres:b*/"), "a/* other */b");
  EXPECT_EQ(opened("plain"), "plain");
}

using Migrations = OnSharedServer;

TEST_F(Migrations, OfProcessesThatOpenAtOnceAreAppliedOnceEach) {
  const std::vector<Migration> steps{{1, "one", "create table counted (n bigint primary key); insert into counted values (1);"},
                                     {2, "two", "update counted set n = n + 1; select pg_sleep(0.05);"},
                                     {3, "three", "update counted set n = n + 1;"}};
  std::vector<std::thread> processes;
  std::atomic<int> opened = 0;
  for (int i = 0; i < 4; ++i)
    processes.emplace_back([&] {
      TestLoop loop;
      SystemClock clock(loop.loop());
      auto db = open_postgres(loop.loop(), clock, {.url = place->schema.url()}, steps);
      opened += db.has_value();
    });
  for (auto& process : processes) process.join();
  EXPECT_EQ(opened, 4);
  EXPECT_EQ(PostgresSession(place->schema.url()).run("select n from counted"), "3");
}

TEST_F(Migrations, LeaveTextsThatCompareByTheirBytes) {
  PostgresSession session(place->schema.url());
  session.run("create table spoken (id text collate \"en-x-icu\" primary key, name text collate \"en-x-icu\")");
  const Migration nothing{1, "nothing", "select 1"};
  ASSERT_TRUE(migrate(place->schema.url(), std::chrono::seconds(5), {&nothing, 1}));
  session.run("insert into spoken values ('~', ''), ('f', ''), ('F', ''), ('a-b', ''), ('aab', '')");
  EXPECT_EQ(session.run("select string_agg(id, ' ' order by id) from spoken"), "F a-b aab f ~");
}

}  // namespace
}  // namespace mayfly::postgres
