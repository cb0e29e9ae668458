// What only SQLite has: threads, queues, files, full disks. The port's own law is in tests/contract.

#include "adapters/sqlite/sqlite.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include <fstream>

#include "adapters/sqlite/connection.h"
#include "adapters/sqlite/watched_disk.h"
#include "async/scope.h"
#include "support/crash.h"
#include "support/run.h"
#include "support/temp_dir.h"

namespace mayfly {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

const Migration things{1, "things",
                       "CREATE TABLE things (id bigint PRIMARY KEY, name text NOT NULL, parent bigint"
                       " REFERENCES things (id) DEFERRABLE INITIALLY DEFERRED);"};
constexpr std::string_view insert = "INSERT INTO things (id, name) VALUES ($1, $2)";
constexpr std::string_view insert_child = "INSERT INTO things (id, name, parent) VALUES ($1, 'child', $2)";
constexpr std::string_view count = "SELECT count(*) FROM things";

struct Sqlite : testing::Test {
  void open(SqliteOptions options = {}) {
    auto opened = open_sqlite(file, {things}, options);
    ASSERT_TRUE(opened) << opened.error().message;
    db = std::move(*opened);
  }
  Result<std::vector<Rows>> transact(std::vector<Statement> unit) { return loop.run(db->transact(std::move(unit))); }
  std::int64_t number(std::string_view sql) {
    auto rows = loop.run(db->query({sql, {}}));
    return rows && rows->rows.size() == 1 ? int_at(rows->rows[0], 0) : -1;
  }
  /// The results of units handed over at once.
  std::vector<Result<std::vector<Rows>>> at_once(std::vector<std::vector<Statement>> units) {
    std::vector<Result<std::vector<Rows>>> out(units.size());
    auto one = [&](std::size_t i) -> Task<void> { out[i] = co_await db->transact(units[i]); };
    auto all = [&]() -> Task<void> {
      Scope scope(loop.loop());
      for (std::size_t i = 0; i < units.size(); ++i) scope.spawn(one(i));
      co_await scope.join();
    };
    loop.run(all());
    return out;
  }

  TempDir dir;
  std::string file = dir.file("mayfly.db");
  TestLoop loop;
  std::unique_ptr<Database> db;
};

/// Another process's transaction on the same file.
struct Lock {
  explicit Lock(const std::string& file) {
    sqlite3_open(file.c_str(), &db);
    sqlite3_exec(db, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr);
  }
  ~Lock() { sqlite3_close(db); }
  sqlite3* db = nullptr;
};

TEST_F(Sqlite, FilesAreForTheirOwnerOnly) {
  open();
  ASSERT_TRUE(transact({statement(insert, 1, "a")}));
  for (auto* name : {"mayfly.db", "mayfly.db-wal", "mayfly.db-shm"}) {
    struct stat st;
    ASSERT_EQ(stat(dir.file(name).c_str(), &st), 0) << name;
    EXPECT_EQ(st.st_mode & 0777, 0600u) << name;
  }
}

TEST_F(Sqlite, ADeferredConstraintUndoesOnlyItsOwnUnit) {
  open();
  // Speaks up only at the physical COMMIT that all of them share.
  std::vector<std::vector<Statement>> units;
  for (int i = 1; i <= 40; ++i) units.push_back({i % 4 ? statement(insert, i, "fine") : statement(insert_child, i, 1000)});
  auto results = at_once(std::move(units));
  for (int i = 1; i <= 40; ++i) {
    auto& result = results[std::size_t(i) - 1];
    EXPECT_EQ(result.has_value(), i % 4 != 0) << i;
    if (!result) {
      EXPECT_EQ(result.error().code, Errc::conflict);
    }
  }
  EXPECT_EQ(number(count), 30);
}

TEST_F(Sqlite, AnAcknowledgedUnitHasBeenSynced) {
  sqlite::WatchedDisk disk;
  open();
  for (int i = 0; i < 20; ++i) {
    auto before = disk.syncs.load();
    ASSERT_TRUE(transact({statement(insert, i, "x")}));
    EXPECT_GT(disk.syncs, before);
  }
}

TEST_F(Sqlite, WithoutFsyncNothingIsSynced) {
  sqlite::WatchedDisk disk;
  open({.fsync = false});
  auto before = disk.syncs.load();
  ASSERT_TRUE(transact({statement(insert, 1, "x")}));
  EXPECT_EQ(disk.syncs, before);
}

TEST_F(Sqlite, UnitsThatWaitTogetherShareOneSync) {
  sqlite::WatchedDisk disk;
  open();
  // The writer stands before the lock with what it took first; all the others come in meanwhile.
  auto lock = std::make_unique<Lock>(file);
  constexpr int units = 300;
  auto writer = [&](int i) -> Task<void> { EXPECT_TRUE(co_await db->transact({statement(insert, i, "x")})); };
  int before = 0;
  auto unlock = [&]() -> Task<void> {
    before = disk.syncs;
    lock.reset();
    co_return;
  };
  auto all = [&]() -> Task<void> {
    Scope scope(loop.loop());
    for (int i = 0; i < units; ++i) scope.spawn(writer(i));
    scope.spawn(unlock());
    co_await scope.join();
  };
  loop.run(all());
  EXPECT_LE(disk.syncs - before, 3);
  EXPECT_EQ(number(count), units);
}

TEST_F(Sqlite, AFailedSyncLeavesItUnknownWhatHappened) {
  sqlite::WatchedDisk disk;
  open();
  ASSERT_TRUE(transact({statement(insert, 1, "kept")}));
  disk.fails = true;
  auto unknown = transact({statement(insert, 2, "who knows")});
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().code, Errc::timeout);
  disk.fails = false;
  EXPECT_TRUE(transact({statement(insert, 3, "after")}));
  EXPECT_EQ(number("SELECT count(*) FROM things WHERE id IN (1, 3)"), 2);
}

TEST_F(Sqlite, AFullQueueRefusesAtOnceAndRecovers) {
  open({.max_queued_units = 4, .busy_timeout = 200ms});
  auto lock = std::make_unique<Lock>(file);
  std::vector<std::vector<Statement>> units;
  for (int i = 0; i < 20; ++i) units.push_back({statement(insert, i, "x")});
  int refused = 0, timed_out = 0;
  for (auto& result : at_once(units)) {
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, Errc::unavailable);
    (result.error().message.find("wait already") != std::string::npos ? refused : timed_out)++;
  }
  // The writer holds some, four more may wait.
  EXPECT_GE(refused, 1);
  EXPECT_GE(timed_out, 4);
  lock.reset();
  EXPECT_EQ(number(count), 0) << "nothing happened";
  EXPECT_TRUE(transact({statement(insert, 1, "x")}));
}

TEST_F(Sqlite, WaitingBytesAreLimitedToo) {
  open({.max_queued_bytes = 10'000});
  EXPECT_TRUE(transact({statement(insert, 1, std::string(9'000, 'x'))}));
  auto refused = transact({statement(insert, 2, std::string(10'000, 'x'))});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::unavailable);
}

TEST_F(Sqlite, ReadsAreLimitedToo) {
  open({.max_queued_reads = 0});
  auto refused = loop.run(db->query(statement(count)));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::unavailable);
}

TEST_F(Sqlite, ReadsGoOnWhileAnotherProcessHoldsTheWriteLock) {
  open();
  ASSERT_TRUE(transact({statement(insert, 1, "a")}));
  Lock lock(file);
  EXPECT_EQ(number(count), 1);
}

TEST_F(Sqlite, AnUnknownFolderIsSaidPlainly) {
  auto opened = open_sqlite(dir.file("missing/mayfly.db"), {things});
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, Errc::unavailable);
  EXPECT_THAT(opened.error().message, HasSubstr("missing/mayfly.db"));
  EXPECT_FALSE(opened.error().hint.empty());
}

TEST_F(Sqlite, AFileThatIsNoDatabaseIsLeftAlone) {
  std::ofstream(file) << std::string(5000, '?');
  auto opened = open_sqlite(file, {things});
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, Errc::corrupt);
  EXPECT_EQ(std::filesystem::file_size(file), 5000u);
}

TEST_F(Sqlite, MemoryNeedsOneThread) {
  auto opened = open_sqlite(":memory:", {things});
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, Errc::unsupported);
}

TEST_F(Sqlite, AFullDiskIsUnavailableAndTheRestStays) {
  EXPECT_TRUE(passes_on_small_disk(1 << 20, dir.path(), [&] {
    TestLoop child_loop;
    auto child = open_sqlite(file, {things}).value();
    auto put = [&](int id, std::string name) { return child_loop.run(child->transact({statement(insert, id, name)})); };
    EXPECT_TRUE(put(1, "kept"));
    { std::ofstream(dir.file("ballast")) << std::string(300'000, 'x'); }
    Errc failed = Errc::internal;
    for (int i = 2; i < 100 && failed == Errc::internal; ++i)
      if (auto done = put(i, std::string(20'000, 'x')); !done) failed = done.error().code;
    EXPECT_EQ(failed, Errc::unavailable);
    auto still = child_loop.run(child->query(statement("SELECT name FROM things WHERE id = 1")));
    EXPECT_TRUE(still && text_at(still->rows.at(0), 0) == "kept");
    std::filesystem::remove(dir.file("ballast"));
    EXPECT_TRUE(put(1000, "there is room again"));
    return !HasFailure();
  }));
}

TEST_F(Sqlite, ADatabaseOfAnotherUserIsUnavailable) {
  open();
  db.reset();
  std::filesystem::permissions(dir.path(), std::filesystem::perms{0755});
  ASSERT_EQ(chmod(file.c_str(), 0444), 0);
  EXPECT_TRUE(passes_unprivileged([&] {
    auto opened = open_sqlite(file, {things, {2, "more", "CREATE TABLE more (id bigint)"}}, {.busy_timeout = 10ms});
    return !opened && opened.error().code == Errc::unavailable && !opened.error().hint.empty();
  }));
}

TEST_F(Sqlite, ManyPagesOfTheLogAreCopiedBack) {
  open();
  for (int i = 0; i < 60; ++i) ASSERT_TRUE(transact({statement(insert, i, std::string(200'000, 'x'))}));
  EXPECT_GT(std::filesystem::file_size(file), 4'000'000u) << "the file itself has grown";
  EXPECT_LT(std::filesystem::file_size(file + "-wal"), 12'000'000u) << "the log is used again from its start";
}

struct OneConnection : testing::Test {
  std::unique_ptr<sqlite::Connection> connection = sqlite::Connection::open(":memory:", {}).value();
};

TEST_F(OneConnection, ForgetsTheStatementUnusedForLongest) {
  std::vector<std::string> texts;
  for (std::size_t i = 0; i < sqlite::max_prepared * 2; ++i) texts.push_back("SELECT " + std::to_string(i));
  for (int round = 0; round < 2; ++round)
    for (std::size_t i = 0; i < texts.size(); ++i) {
      auto rows = connection->run(statement(texts[i]));
      ASSERT_TRUE(rows);
      EXPECT_EQ(int_at(rows->rows.at(0), 0), std::int64_t(i));
    }
}

TEST_F(OneConnection, TakesTheTextNotItsPlaceInMemory) {
  std::string text = "SELECT 1";
  EXPECT_EQ(int_at(connection->run(statement(text)).value().rows.at(0), 0), 1);
  text.back() = '2';
  EXPECT_EQ(int_at(connection->run(statement(text)).value().rows.at(0), 0), 2);
}

TEST_F(OneConnection, RefusesWhatPostgresWouldRefuse) {
  for (auto& bad : {statement("SELECT ?", 1), statement("SELECT :a", 1), statement("SELECT $2", 1, 2), statement("SELECT $1"),
                    statement("SELECT 1", 1), statement("SELECT 1; SELECT 2"), statement(""), statement("-- nothing"),
                    statement("SELECT 1.5")}) {
    auto rows = connection->run(bad);
    ASSERT_FALSE(rows) << bad.sql;
    EXPECT_EQ(rows.error().code, Errc::internal) << bad.sql;
  }
  EXPECT_TRUE(connection->run(statement("SELECT 1;  \n")));
}

TEST_F(OneConnection, AUnitThatDefinesATableAffectsNoRows) {
  ASSERT_TRUE(connection->run(statement("CREATE TABLE t (a bigint)")));
  EXPECT_EQ(connection->run(statement("INSERT INTO t VALUES (1), (2)")).value().affected, 2);
  EXPECT_EQ(connection->run(statement("CREATE TABLE u (a bigint)")).value().affected, 0);
}

}  // namespace
}  // namespace mayfly
