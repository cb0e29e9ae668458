#include "adapters/postgres/postgres.h"

#include <algorithm>
#include <boost/asio/basic_waitable_timer.hpp>

#include "adapters/postgres/lane.h"
#include "adapters/postgres/migrate.h"
#include "adapters/postgres/partitions.h"
#include "adapters/postgres/readers.h"
#include "base/log.h"

namespace mayfly {
namespace postgres {
namespace {

using namespace std::chrono_literals;
using SteadyTimer = boost::asio::basic_waitable_timer<std::chrono::steady_clock, boost::asio::wait_traits<std::chrono::steady_clock>, Loop>;

constexpr auto watch_interval = 1s;
/// Past a statement's own time, for the answer to come.
constexpr auto answer_grace = 5s;

std::size_t bytes_of(const std::vector<Statement>& unit) {
  std::size_t bytes = 0;
  for (auto& statement : unit) {
    bytes += sizeof statement;
    for (auto& param : statement.params) bytes += mayfly::bytes_of(param);
  }
  return bytes;
}

class PooledDatabase final : public Database {
 public:
  PooledDatabase(Loop loop, const PostgresOptions& options)
      : connector_(loop, options.url, options.connect_timeout),
        settings_{false, options.statement_timeout, options.lock_timeout, options.idle_in_transaction_timeout},
        readers_(loop, connector_, settings_, std::max(options.readers, 1u), options.max_queued_reads, options.patience),
        queue_{options.max_queued_units, options.max_queued_bytes},
        watch_(std::make_shared<SteadyTimer>(loop)),
        silence_(options.statement_timeout + answer_grace) {
    for (unsigned i = 0; i < std::max(options.writers, 1u); ++i)
      lanes_.push_back(std::make_unique<Lane>(loop, connector_, settings_, queue_, options.patience));
  }
  ~PooledDatabase() override { watch_->cancel(); }

  void start(ConnectionPtr first) {
    lanes_.front()->slot().start(std::move(first));
    for (auto& slot : readers_.slots()) slot->start();
    for (std::size_t i = 1; i < lanes_.size(); ++i) lanes_[i]->slot().start();
    watch();
  }

  Task<Result<Rows>> query(Statement statement) override {
    Read read{statement};
    co_await completed_by([&](Done done) {
      read.done = std::move(done);
      if (readers_.ask(read)) return;
      read.result = fail(Errc::unavailable, "database: too many reads wait already", "try again in a moment");
      read.done();
    });
    co_return std::move(read.result);
  }

  Task<Result<std::vector<Rows>>> transact(std::vector<Statement> statements) override {
    CO_TRY(check_limits(statements));
    if (statements.empty()) co_return std::vector<Rows>{};
    Unit unit{statements, bytes_of(statements), Lane::key_of(statements)};
    co_await lane_for(unit).commit(unit);
    co_return std::move(unit.result);
  }

 private:
  Lane& lane_for(const Unit& unit) {
    auto& own = *lanes_[std::hash<std::string_view>{}(unit.key) % lanes_.size()];
    if (!unit.key.empty() && own.slot().link()) return own;
    // Any does, of those that are connected the one with the shortest queue.
    auto cost = [](auto& lane) { return std::pair(!lane->slot().link(), lane->waiting()); };
    return **std::ranges::min_element(lanes_, {}, cost);
  }

  void watch() {
    watch_->expires_after(watch_interval);
    watch_->async_wait([this, alive = std::weak_ptr(watch_)](auto ec) {
      if (ec || alive.expired()) return;
      auto now = Link::Clock::now();
      auto check = [&](Slot& slot) {
        if (auto link = slot.link()) link->check(now, silence_);
      };
      for (auto& slot : readers_.slots()) check(*slot);
      for (auto& lane : lanes_) {
        check(lane->slot());
        lane->look_again();
      }
      readers_.look_again();
      watch();
    });
  }

  Connector connector_;
  const SessionSettings settings_;
  Readers readers_;
  WriteQueue queue_;
  std::vector<std::unique_ptr<Lane>> lanes_;
  std::shared_ptr<SteadyTimer> watch_;
  const Link::Clock::duration silence_;
};

}  // namespace
}  // namespace postgres

Result<std::unique_ptr<Database>> open_postgres(Loop loop, Clock& clock, PostgresOptions options, std::vector<Migration> migrations) {
  using namespace postgres;
  TRY(migrate(options.url, options.connect_timeout, migrations));
  if (!options.partitions.empty())
    if (auto kept = keep_partitions(options, clock.now()); !kept)
      log_warn("database: partitions are not as they should be; inserts go on", {{"why", kept.error().message}});
  SessionSettings settings{false, options.statement_timeout, options.lock_timeout, options.idle_in_transaction_timeout};
  TRY_ASSIGN(auto first, connect(options.url, settings, nullptr, options.connect_timeout));
  auto database = std::make_unique<PooledDatabase>(std::move(loop), options);
  database->start(std::move(first));
  return database;
}

}  // namespace mayfly
