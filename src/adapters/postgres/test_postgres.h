#pragma once
// What the adapter's tests share: one schema, one table, and other sessions beside the ones under test.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "adapters/postgres/postgres.h"
#include "adapters/system/system_clock.h"
#include "async/scope.h"
#include "support/postgres.h"
#include "support/run.h"

namespace mayfly::postgres {

inline const Migration things{1, "things",
                              "CREATE TABLE things (id bigint PRIMARY KEY, name text NOT NULL, count bigint NOT NULL DEFAULT 0, parent bigint"
                              " REFERENCES things (id) DEFERRABLE INITIALLY DEFERRED);"};
inline constexpr std::string_view insert = "INSERT INTO things (id, name) VALUES ($1, $2)";
inline constexpr std::string_view insert_child = "INSERT INTO things (id, name, parent) VALUES ($1, 'child', $2)";
inline constexpr std::string_view add_one = "UPDATE things SET count = count + 1 WHERE id = $1";
inline constexpr std::string_view count_all = "SELECT count(*) FROM things";
inline constexpr std::string_view total = "SELECT coalesce(sum(count), 0) FROM things";

/// A pool on its own loop over one server, and a schema of its own there.
class Place {
 public:
  explicit Place(std::string server) : schema(server), clock(loop.loop()) {}

  std::unique_ptr<Database> connect(PostgresOptions options = {}, const std::string& application = "under_test") {
    if (options.url.empty()) options.url = schema.url(application);
    return open_postgres(loop.loop(), clock, std::move(options), {things}).value();
  }
  Result<std::vector<Rows>> transact(Database& db, std::vector<Statement> unit) { return loop.run(db.transact(std::move(unit))); }
  std::int64_t number(Database& db, std::string_view sql) {
    auto rows = loop.run(db.query({sql, {}}));
    return rows && rows->rows.size() == 1 ? int_at(rows->rows[0], 0) : -1;
  }
  /// The results of units handed over at once, while `meanwhile` goes on.
  std::vector<Result<std::vector<Rows>>> at_once(Database& db, std::vector<std::vector<Statement>> units, std::function<Task<void>()> meanwhile = {}) {
    std::vector<Result<std::vector<Rows>>> out(units.size());
    auto one = [&](std::size_t i) -> Task<void> { out[i] = co_await db.transact(units[i]); };
    auto all = [&]() -> Task<void> {
      Scope scope(loop.loop());
      for (std::size_t i = 0; i < units.size(); ++i) scope.spawn(one(i));
      if (meanwhile) scope.spawn(meanwhile());
      co_await scope.join();
    };
    loop.run(all());
    return out;
  }
  /// Waits, with the loop turning, until the other session's question has an answer other than "".
  Task<std::string> until(PostgresSession& other, std::string question) {
    for (;;) {
      if (auto answer = other.run(question); !answer.empty()) co_return answer;
      co_await sleep_for(clock, std::chrono::milliseconds(2));
    }
  }

  PostgresSchema schema;
  TestLoop loop;
  SystemClock clock;
};

class OnSharedServer : public testing::Test {
 protected:
  void SetUp() override {
    if (test_postgres().empty()) GTEST_SKIP() << how_to_have_postgres;
    place.emplace(test_postgres());
    application = place->schema.name();
  }
  std::unique_ptr<Database> connect(PostgresOptions options = {}) { return place->connect(std::move(options), application); }
  /// SQL: process ids of the pool's sessions for which `condition` holds.
  std::string sessions(const std::string& condition) const {
    return "select pid from pg_stat_activity where application_name = '" + application + "' and " + condition;
  }
  std::string terminate(const std::string& condition) const {
    return "select pg_terminate_backend(pid, 5000) from pg_stat_activity where application_name = '" + application + "' and " + condition;
  }

  std::optional<Place> place;
  std::string application;
};

}  // namespace mayfly::postgres
