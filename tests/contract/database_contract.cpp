#include "contract/database_contract.h"

#include <gmock/gmock.h>

#include "async/scope.h"

namespace mayfly::contract {

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(DatabaseReopeningContract);

namespace {

using testing::HasSubstr;

const Migration accounts{1, "accounts",
                         "CREATE TABLE accounts (id text PRIMARY KEY, balance bigint NOT NULL, note text, data bytea);"
                         "CREATE TABLE transfers (id bigint PRIMARY KEY, account text NOT NULL REFERENCES accounts (id),"
                         "  amount bigint NOT NULL CHECK (amount > 0));"};
const Migration more{2, "more", "CREATE TABLE more (id bigint PRIMARY KEY); INSERT INTO more (id) VALUES (7);"};

constexpr std::string_view insert_account = "INSERT INTO accounts (id, balance) VALUES ($1, $2)";
constexpr std::string_view add = "UPDATE accounts SET balance = balance + $2 WHERE id = $1";
constexpr std::string_view select_balance = "SELECT balance FROM accounts WHERE id = $1";
constexpr std::string_view count_accounts = "SELECT count(*) FROM accounts";

}  // namespace

void DatabaseContract::SetUp() {
  store = GetParam().make(loop);
  auto opened = reopen({accounts});
  ASSERT_TRUE(opened) << opened.error().message;
}

Result<void> DatabaseContract::reopen(std::vector<Migration> migrations) {
  db.reset();
  TRY_ASSIGN(db, store->open(std::move(migrations)));
  return {};
}

std::int64_t DatabaseContract::number(std::string_view sql) {
  auto rows = query({sql, {}});
  return rows && rows->rows.size() == 1 ? int_at(rows->rows[0], 0) : -1;
}

TEST_P(DatabaseContract, AUnitIsThereWhenItReturns) {
  auto done = transact({statement(insert_account, "a", 5), statement(add, "a", 2)});
  ASSERT_TRUE(done) << done.error().message;
  ASSERT_EQ(done->size(), 2u);
  EXPECT_EQ((*done)[0].affected, 1);
  EXPECT_EQ((*done)[1].affected, 1);

  auto rows = query(statement(select_balance, "a"));
  ASSERT_TRUE(rows) << rows.error().message;
  ASSERT_EQ(rows->rows.size(), 1u);
  EXPECT_EQ(int_at(rows->rows[0], 0), 7);
}

TEST_P(DatabaseContract, EveryKindOfValueComesBackAsItWas) {
  constexpr std::string_view insert = "INSERT INTO accounts (id, balance, note, data) VALUES ($1, $2, $3, $4)";
  constexpr std::string_view select = "SELECT id, balance, note, data FROM accounts ORDER BY id";
  std::string text = "é\n\"quoted\" 'text' $1 ☃", bytes("\0\xff\x80'\n", 5);
  auto least = std::numeric_limits<std::int64_t>::min(), most = std::numeric_limits<std::int64_t>::max();
  ASSERT_TRUE(transact({statement(insert, "1", least, text, Blob{bytes}), statement(insert, "2", most, nullptr, nullptr),
                        statement(insert, "3", 0, "", Blob{})}));
  auto rows = query({select, {}});
  ASSERT_TRUE(rows) << rows.error().message;
  ASSERT_EQ(rows->rows.size(), 3u);
  EXPECT_EQ(rows->rows[0], (Row{value("1"), value(least), value(text), value(Blob{bytes})}));
  EXPECT_EQ(rows->rows[1], (Row{value("2"), value(most), Value{}, Value{}}));
  EXPECT_EQ(rows->rows[2], (Row{value("3"), value(0), value(""), value(Blob{})}));
  EXPECT_TRUE(null_at(rows->rows[1], 2));
  EXPECT_EQ(text_at(rows->rows[1], 2), "");
}

TEST_P(DatabaseContract, ParametersAreNumberedNotOrdered) {
  constexpr std::string_view swapped = "INSERT INTO accounts (balance, id) VALUES ($2, $1)";
  ASSERT_TRUE(transact({statement(swapped, "a", 5)}));
  EXPECT_EQ(number(count_accounts), 1);
  auto rows = query(statement(select_balance, "a"));
  ASSERT_TRUE(rows && rows->rows.size() == 1);
  EXPECT_EQ(int_at(rows->rows[0], 0), 5);
}

TEST_P(DatabaseContract, OneParameterMayStandInSeveralPlaces) {
  constexpr std::string_view twice = "INSERT INTO accounts (id, balance, note) VALUES ($1, $2, $1)";
  ASSERT_TRUE(transact({statement(twice, "a", 5)}));
  EXPECT_EQ(number("SELECT count(*) FROM accounts WHERE note = id"), 1);
}

TEST_P(DatabaseContract, ReturningGivesTheRows) {
  constexpr std::string_view add_returning = "UPDATE accounts SET balance = balance + $1 WHERE balance > $2 RETURNING id, balance";
  ASSERT_TRUE(transact({statement(insert_account, "a", 5), statement(insert_account, "b", 1)}));
  auto done = transact({statement(add_returning, 10, 3)});
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_EQ((*done)[0].rows, (std::vector<Row>{{value("a"), value(15)}}));
  EXPECT_EQ((*done)[0].affected, 1);
}

TEST_P(DatabaseContract, AnUpsertSaysWhetherItWrote) {
  constexpr std::string_view once = "INSERT INTO accounts (id, balance) VALUES ($1, $2) ON CONFLICT DO NOTHING";
  auto first = transact({statement(once, "a", 5)}), second = transact({statement(once, "a", 6)});
  ASSERT_TRUE(first && second);
  EXPECT_EQ((*first)[0].affected, 1);
  EXPECT_EQ((*second)[0].affected, 0);
}

TEST_P(DatabaseContract, AnEmptyUnitIsDoneAtOnce) {
  auto done = transact({});
  ASSERT_TRUE(done);
  EXPECT_TRUE(done->empty());
}

TEST_P(DatabaseContract, AFailedExpectationUndoesTheWholeUnit) {
  ASSERT_TRUE(transact({statement(insert_account, "a", 5)}));
  auto lost = transact({statement(add, "a", 1), expect_one(add, "nobody", 1), statement(add, "a", 1)});
  ASSERT_FALSE(lost);
  EXPECT_EQ(lost.error().code, Errc::conflict);
  EXPECT_EQ(number("SELECT balance FROM accounts"), 5);
}

TEST_P(DatabaseContract, AnExpectationCountsTheRowsOfASelectToo) {
  ASSERT_TRUE(transact({statement(insert_account, "a", 5)}));
  EXPECT_TRUE(transact({expect_one(select_balance, "a"), statement(add, "a", 1)}));
  auto lost = transact({expect_one(select_balance, "nobody"), statement(add, "a", 1)});
  ASSERT_FALSE(lost);
  EXPECT_EQ(lost.error().code, Errc::conflict);
  EXPECT_EQ(number("SELECT balance FROM accounts"), 6);
  auto none = query(expect_one(select_balance, "nobody"));
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, Errc::conflict);
}

TEST_P(DatabaseContract, TwoOfTheSameKeyAreAConflict) {
  ASSERT_TRUE(transact({statement(insert_account, "a", 5)}));
  auto lost = transact({statement(add, "a", 1), statement(insert_account, "a", 6)});
  ASSERT_FALSE(lost);
  EXPECT_EQ(lost.error().code, Errc::conflict);
  EXPECT_EQ(number("SELECT balance FROM accounts"), 5);
}

TEST_P(DatabaseContract, AMissingForeignRowIsAConflict) {
  auto lost = transact({statement("INSERT INTO transfers (id, account, amount) VALUES (1, $1, 2)", "nobody")});
  ASSERT_FALSE(lost);
  EXPECT_EQ(lost.error().code, Errc::conflict);
}

TEST_P(DatabaseContract, AWrongStatementIsABugAndUndoesItsUnit) {
  ASSERT_TRUE(transact({statement(insert_account, "a", 5)}));
  for (auto& wrong : {statement("UPDATE nothing SET x = 1"), statement(insert_account, "only one parameter"),
                      statement("INSERT INTO accounts (id, balance) VALUES ($1, NULL)", "b"),
                      statement("INSERT INTO transfers (id, account, amount) VALUES (1, 'a', $1)", 0)}) {
    auto lost = transact({statement(add, "a", 1), wrong});
    ASSERT_FALSE(lost) << wrong.sql;
    EXPECT_EQ(lost.error().code, Errc::internal) << lost.error().message;
  }
  EXPECT_EQ(number("SELECT balance FROM accounts"), 5);
  EXPECT_EQ(number(count_accounts), 1);
}

TEST_P(DatabaseContract, AQueryOnlyReads) {
  auto refused = query(statement("INSERT INTO accounts (id, balance) VALUES ('a', 1) RETURNING id"));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::internal);
  EXPECT_EQ(number(count_accounts), 0);
}

TEST_P(DatabaseContract, ParametersNeverAppearInErrors) {
  auto account = statement(insert_account, "hunter2", 5);
  ASSERT_TRUE(transact({account}));
  auto lost = transact({account});
  ASSERT_FALSE(lost);
  EXPECT_THAT(lost.error().message + lost.error().hint, testing::Not(HasSubstr("hunter2")));
}

TEST_P(DatabaseContract, OfManyWritersExactlyOneWinsACompareAndSet) {
  constexpr std::string_view take = "UPDATE accounts SET balance = $2 WHERE id = $1 AND balance = 0";
  ASSERT_TRUE(transact({statement(insert_account, "lock", 0)}));
  int won = 0, lost = 0;
  auto taker = [&](int who) -> Task<void> {
    auto done = co_await db->transact({statement(insert_account, "taker " + std::to_string(who), 1), expect_one(take, "lock", who)});
    if (done) ++won;
    else if (done.error().code == Errc::conflict) ++lost;
  };
  auto all = [&]() -> Task<void> {
    Scope scope(loop.loop());
    for (int i = 1; i <= 50; ++i) scope.spawn(taker(i));
    co_await scope.join();
  };
  loop.run(all());
  EXPECT_EQ(won, 1);
  EXPECT_EQ(lost, 49);
  EXPECT_EQ(number(count_accounts), 2) << "the losers left nothing behind";
}

TEST_P(DatabaseContract, UnitsAtOnceDoNotTouchEachOther) {
  ASSERT_TRUE(transact({statement(insert_account, "a", 0)}));
  int failed = 0;
  auto writer = [&](int i) -> Task<void> {
    std::vector<Statement> unit{statement(add, "a", 1)};
    if (i % 3 == 0) unit.push_back(expect_one(add, "nobody", 1));
    if (i % 3 == 1) unit.push_back(statement(insert_account, "a", 1));
    if (!co_await db->transact(std::move(unit))) ++failed;
  };
  auto all = [&]() -> Task<void> {
    Scope scope(loop.loop());
    for (int i = 0; i < 90; ++i) scope.spawn(writer(i));
    co_await scope.join();
  };
  loop.run(all());
  EXPECT_EQ(failed, 60);
  EXPECT_EQ(number("SELECT balance FROM accounts"), 30);
}

TEST_P(DatabaseContract, AReadSeesEveryAcknowledgedUnit) {
  ASSERT_TRUE(transact({statement(insert_account, "a", 0)}));
  auto story = [&]() -> Task<void> {
    for (int i = 1; i <= 100; ++i) {
      (void)co_await db->transact({expect_one(add, "a", 1)});
      auto rows = co_await db->query(statement(select_balance, "a"));
      if (!rows || int_at(rows->rows.at(0), 0) != i) ADD_FAILURE() << "after unit " << i;
    }
  };
  loop.run(story());
}

TEST_P(DatabaseContract, ManyStatementsFitOneUnitAndOneMoreDoesNot) {
  std::vector<Statement> unit(max_unit_statements, statement(add, "a", 1));
  unit[0] = statement(insert_account, "a", 0);
  auto done = transact(unit);
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_EQ(number("SELECT balance FROM accounts"), std::int64_t(max_unit_statements) - 1);
  unit.push_back(statement(add, "a", 1));
  auto refused = transact(unit);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::too_large);
}

TEST_P(DatabaseContract, AUnitOrAnAnswerOfTooManyBytesIsRefused) {
  constexpr std::string_view set_data = "UPDATE accounts SET data = $2 WHERE id = $1";
  ASSERT_TRUE(transact({statement(insert_account, "a", 0), statement(insert_account, "b", 0)}));
  Blob half{std::string(max_result_bytes / 2, 'x')};
  ASSERT_TRUE(transact({expect_one(set_data, "a", half)}));
  ASSERT_TRUE(transact({expect_one(set_data, "b", half)}));
  EXPECT_TRUE(query(statement("SELECT data FROM accounts WHERE id = $1", "a")));

  auto answer = query({"SELECT data FROM accounts", {}});
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, Errc::too_large);
  auto unit = transact({statement(set_data, "a", half), statement(set_data, "b", half)});
  ASSERT_FALSE(unit);
  EXPECT_EQ(unit.error().code, Errc::too_large);
}

TEST_P(DatabaseReopeningContract, WhatWasAcknowledgedIsThereAfterReopening) {
  ASSERT_TRUE(transact({statement(insert_account, "a", 5)}));
  ASSERT_TRUE(reopen({accounts}));
  EXPECT_EQ(number("SELECT balance FROM accounts"), 5);
}

TEST_P(DatabaseReopeningContract, AMigrationIsAppliedOnce) {
  for (int i = 0; i < 2; ++i) {
    auto opened = reopen({accounts, more});
    ASSERT_TRUE(opened) << opened.error().message;
    EXPECT_EQ(number("SELECT id FROM more"), 7);
  }
}

TEST_P(DatabaseReopeningContract, AChangedMigrationIsRefused) {
  auto changed = accounts;
  changed.sql = "CREATE TABLE accounts (id text PRIMARY KEY);";
  auto opened = reopen({changed});
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, Errc::conflict);
  EXPECT_THAT(opened.error().message, HasSubstr("migration 1 (accounts)"));
}

TEST_P(DatabaseReopeningContract, ADatabaseOfANewerProgramIsRefused) {
  ASSERT_TRUE(reopen({accounts, more}));
  auto opened = reopen({accounts});
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, Errc::unsupported);
}

TEST_P(DatabaseReopeningContract, AFailingMigrationLeavesNothingAndCanBeMended) {
  Migration broken{2, "more", "CREATE TABLE more (id bigint PRIMARY KEY); INSERT INTO nowhere VALUES (1);"};
  auto opened = reopen({accounts, broken});
  ASSERT_FALSE(opened);
  EXPECT_THAT(opened.error().message, HasSubstr("migration 2 (more)"));
  opened = reopen({accounts, more});
  ASSERT_TRUE(opened) << opened.error().message;
  EXPECT_EQ(number("SELECT id FROM more"), 7);
}

TEST_P(DatabaseContract, MigrationsAreNumberedWithoutGaps) {
  auto gap = more;
  gap.number = 3;
  auto opened = reopen({accounts, gap});
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, Errc::invalid);
}

}  // namespace mayfly::contract
