// A writer is killed at any moment; what it had acknowledged is whole, and nothing is half there.

#include <gtest/gtest.h>

#include <set>

#include "adapters/sqlite/sqlite.h"
#include "async/scope.h"
#include "support/crash.h"
#include "support/run.h"
#include "support/temp_dir.h"

namespace mayfly {
namespace {

using namespace std::chrono_literals;

// Each unit is three rows of two tables.
const Migration tables{1, "tables",
                       "CREATE TABLE units (id bigint PRIMARY KEY, parts bigint NOT NULL);"
                       "CREATE TABLE parts (unit bigint NOT NULL REFERENCES units (id), part bigint NOT NULL, filler text NOT NULL,"
                       " PRIMARY KEY (unit, part));"};
constexpr std::string_view insert_unit = "INSERT INTO units (id, parts) VALUES ($1, 0)";
constexpr std::string_view insert_part = "INSERT INTO parts (unit, part, filler) VALUES ($1, $2, $3)";
constexpr std::string_view count_parts = "UPDATE units SET parts = parts + 1 WHERE id = $1";
constexpr std::string_view select_last = "SELECT coalesce(max(id), 0) FROM units";
constexpr std::string_view select_ids = "SELECT id FROM units";
constexpr std::string_view select_halves =
    "SELECT count(*) FROM units u WHERE u.parts <> 2 OR (SELECT count(*) FROM parts p WHERE p.unit = u.id) <> 2";
constexpr std::string_view integrity = "PRAGMA integrity_check";

constexpr int writers = 16;

Task<void> write_for_ever(Database& db, std::int64_t& next, const Acknowledge& acknowledge) {
  for (;;) {
    auto id = ++next;
    // Some pages are spilled before the commit, some units lose on purpose.
    std::string filler(std::size_t(id % 50) * 200, 'x');
    std::vector<Statement> unit{statement(insert_unit, id), statement(insert_part, id, 1, filler), statement(count_parts, id),
                                statement(insert_part, id, 2, filler), statement(count_parts, id)};
    if (id % 7 == 0) unit.push_back(expect_one(count_parts, -1));
    if (co_await db.transact(std::move(unit))) acknowledge(std::to_string(id));
  }
}

void work(const std::string& file, const Acknowledge& acknowledge) {
  auto db = open_sqlite(file, {tables}).value();
  TestLoop loop;
  auto last = loop.run(db->query(statement(select_last))).value();
  auto next = int_at(last.rows[0], 0);
  auto all = [&]() -> Task<void> {
    Scope scope(loop.loop());
    for (int i = 0; i < writers; ++i) scope.spawn(write_for_ever(*db, next, acknowledge));
    co_await scope.join();
  };
  loop.run(all());
}

TEST(SqliteCrash, EveryAcknowledgedUnitSurvivesWholeAndNoneIsHalfThere) {
  TempDir dir;
  auto file = dir.file("mayfly.db");
  std::set<std::int64_t> acknowledged;
  for (int round = 0; round < 12; ++round) {
    auto moment = 1ms * (round * round * 3);
    for (auto& line : kill_during([&](const Acknowledge& acknowledge) { work(file, acknowledge); }, moment))
      acknowledged.insert(std::stoll(line));

    auto db = open_sqlite(file, {tables}, {.inline_mode = true});
    ASSERT_TRUE(db) << db.error().message;
    std::set<std::int64_t> there;
    for (auto& row : run((*db)->query(statement(select_ids))).value().rows) there.insert(int_at(row, 0));
    for (auto id : acknowledged) ASSERT_TRUE(there.contains(id)) << "unit " << id << " was acknowledged and is gone, round " << round;
    for (auto id : there) ASSERT_NE(id % 7, 0) << "unit " << id << " was undone";
    EXPECT_EQ(int_at(run((*db)->query(statement(select_halves))).value().rows[0], 0), 0);
    EXPECT_EQ(text_at(run((*db)->query(statement(integrity))).value().rows[0], 0), "ok");
  }
  EXPECT_GT(acknowledged.size(), 30u) << "the test killed nothing that worked";
}

}  // namespace
}  // namespace mayfly
