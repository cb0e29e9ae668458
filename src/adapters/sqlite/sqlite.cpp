#include "adapters/sqlite/sqlite.h"

#include <thread>

#include "adapters/sqlite/connection.h"
#include "adapters/sqlite/group_commit.h"
#include "adapters/sqlite/migrate.h"
#include "adapters/sqlite/queue.h"
#include "async/completion.h"

namespace mayfly {
namespace sqlite {
namespace {

/// Units in one physical transaction: enough to share an fsync, few enough that the first does not wait long for the last.
constexpr std::size_t max_units_together = 512;
constexpr unsigned reader_threads = 2;

std::size_t bytes_of(const std::vector<Value>& params) {
  std::size_t bytes = 0;
  for (auto& param : params) bytes += mayfly::bytes_of(param);
  return bytes;
}

std::size_t bytes_of(const std::vector<Statement>& unit) {
  std::size_t bytes = 0;
  for (auto& statement : unit) bytes += sizeof statement + bytes_of(statement.params);
  return bytes;
}

std::unexpected<Error> full(std::string_view what) {
  return fail(Errc::unavailable, "database: too many " + std::string(what) + " wait already", "try again in a moment");
}

class InlineDatabase final : public Database {
 public:
  explicit InlineDatabase(std::unique_ptr<Connection> connection) : connection_(std::move(connection)) {}

  Task<Result<Rows>> query(Statement statement) override { co_return connection_->read(statement); }

  Task<Result<std::vector<Rows>>> transact(std::vector<Statement> statements) override {
    CO_TRY(check_limits(statements));
    Unit unit{statements};
    Unit* units[] = {&unit};
    commit_together(*connection_, units);
    connection_->checkpoint_if_due();
    co_return std::move(unit.result);
  }

 private:
  std::unique_ptr<Connection> connection_;
};

class ThreadedDatabase final : public Database {
 public:
  ThreadedDatabase(std::unique_ptr<Connection> writer, std::vector<std::unique_ptr<Connection>> readers,
                   const SqliteOptions& options)
      : writes_(options.max_queued_units, options.max_queued_bytes),
        reads_(options.max_queued_reads, options.max_queued_bytes) {
    writer_ = std::thread([this, connection = std::move(writer)] { write_all(*connection); });
    for (auto& reader : readers)
      readers_.emplace_back([this, connection = std::move(reader)] { read_all(*connection); });
  }

  // The last connection to close brings the log into the database file, which a read-only one cannot.
  ~ThreadedDatabase() override {
    reads_.close();
    for (auto& reader : readers_) reader.join();
    writes_.close();
    writer_.join();
  }

  Task<Result<Rows>> query(Statement statement) override {
    Read read{statement, bytes_of(statement.params)};
    co_await completed_by([&](Done done) {
      read.done = std::move(done);
      if (reads_.push(&read)) return;
      read.result = full("reads");
      read.done();
    });
    co_return std::move(read.result);
  }

  Task<Result<std::vector<Rows>>> transact(std::vector<Statement> statements) override {
    CO_TRY(check_limits(statements));
    Write write{{statements}, bytes_of(statements)};
    co_await completed_by([&](Done done) {
      write.done = std::move(done);
      if (writes_.push(&write)) return;
      write.result = full("transactions");
      write.done();
    });
    co_return std::move(write.result);
  }

 private:
  struct Write : Unit {
    std::size_t bytes;
    Done done;
    Write(Unit unit, std::size_t b) : Unit(std::move(unit)), bytes(b) {}
  };
  struct Read {
    const Statement& statement;
    std::size_t bytes;
    Result<Rows> result{};
    Done done{};
  };

  // Once done() is called the caller may go on, and what it waited with is gone.
  template <class Item>
  static void answer(Item& item) {
    auto done = std::move(item.done);
    done();
  }

  void write_all(Connection& connection) {
    for (auto batch = writes_.pop(max_units_together); !batch.empty(); batch = writes_.pop(max_units_together)) {
      std::vector<Unit*> units(batch.begin(), batch.end());
      commit_together(connection, units);
      for (auto* write : batch) answer(*write);
      connection.checkpoint_if_due();
    }
  }

  void read_all(Connection& connection) {
    for (auto batch = reads_.pop(1); !batch.empty(); batch = reads_.pop(1)) {
      batch[0]->result = connection.read(batch[0]->statement);
      answer(*batch[0]);
    }
  }

  Queue<Write> writes_;
  Queue<Read> reads_;
  std::thread writer_;
  std::vector<std::thread> readers_;
};

}  // namespace
}  // namespace sqlite

Result<std::unique_ptr<Database>> open_sqlite(std::string path, std::vector<Migration> migrations, SqliteOptions options) {
  using namespace sqlite;
  if (path == ":memory:" && !options.inline_mode)
    return fail(Errc::unsupported, "a database in memory has no second connection", "set inline_mode");
  auto open = [&] { return Connection::open(path, {options.fsync, options.busy_timeout}); };
  TRY_ASSIGN(auto writer, open());
  TRY(migrate(*writer, migrations));
  if (options.inline_mode) return std::make_unique<InlineDatabase>(std::move(writer));
  std::vector<std::unique_ptr<Connection>> readers(reader_threads);
  for (auto& reader : readers) {
    TRY_ASSIGN(reader, open());
  }
  return std::make_unique<ThreadedDatabase>(std::move(writer), std::move(readers), options);
}

}  // namespace mayfly
