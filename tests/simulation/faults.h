#pragma once
// The world's malice, as data: what goes wrong how often, drawn from the seed. Decorators put it between the roles and
// their ports, so the roles run exactly as in the server.

#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <string_view>

#include "ports/bus.h"
#include "ports/clock.h"
#include "ports/database.h"
#include "ports/forge.h"

namespace mayfly::simulation {

/// Chances are of 1000.
struct Faults {
  std::string_view name;
  int database_before = 0;       // the unit did not happen, and the caller is told that it is unavailable
  int database_after = 0;        // the unit did happen, and the caller is told that nobody knows
  int database_slow = 0;
  int message_lost = 0;
  int message_doubled = 0;
  int message_late = 0;
  int forge_away = 0;
  int call_lost = 0;             // a runner's request that never arrived
  int answer_lost = 0;           // … that was answered into the void
  int runner_dies = 0;           // a look, each second of a running job
  int executor_fails = 0;
  Duration crash_every{};        // mean time between kills of the server; zero: none
  bool logs_by_bus = false;      // no fault: logs go the way they go between nodes
};

inline constexpr Faults scenarios[] = {
    {.name = "calm"},
    {.name = "clogged", .database_slow = 200, .message_late = 200, .call_lost = 30, .answer_lost = 30},
    {.name = "forgetful", .message_lost = 300, .message_doubled = 200, .message_late = 100},
    {.name = "doubtful", .database_before = 50, .database_after = 50, .database_slow = 100, .answer_lost = 100},
    {.name = "deadly", .database_after = 10, .runner_dies = 30, .executor_fails = 50, .crash_every = std::chrono::seconds(4)},
    {.name = "everything", .database_before = 20, .database_after = 20, .database_slow = 100, .message_lost = 100,
     .message_doubled = 100, .message_late = 100, .forge_away = 100, .call_lost = 30, .answer_lost = 30, .runner_dies = 10,
     .executor_fails = 30, .crash_every = std::chrono::seconds(8)},
    {.name = "calm_logs_by_bus", .logs_by_bus = true},
    {.name = "logs_by_bus", .database_before = 20, .database_after = 20, .database_slow = 100, .message_lost = 100, .message_doubled = 100,
     .call_lost = 30, .answer_lost = 30, .runner_dies = 10, .crash_every = std::chrono::seconds(12), .logs_by_bus = true},
};

/// Draws from the seed. `calm` ends all malice: what was broken must then heal.
class Chance final {
 public:
  Chance(std::uint64_t seed, const Faults& faults) : engine_(seed), faults_(faults) {}

  const Faults& faults() const { return faults_; }
  void calm() { faults_ = {}; }
  bool happens(int of_1000) { return of_1000 > 0 && below(1000) < std::uint64_t(of_1000); }
  std::uint64_t below(std::uint64_t n) { return engine_() % n; }
  Duration up_to(Duration d) { return Duration(std::int64_t(below(std::uint64_t(d.count()) + 1))); }

 private:
  std::mt19937_64 engine_;
  Faults faults_;
};

class FaultyDatabase final : public Database {
 public:
  FaultyDatabase(Database& inner, Clock& clock, Chance& chance) : inner_(inner), clock_(clock), chance_(chance) {}
  Task<Result<Rows>> query(Statement statement) override;
  Task<Result<std::vector<Rows>>> transact(std::vector<Statement> unit) override;

 private:
  Database& inner_;
  Clock& clock_;
  Chance& chance_;
};

class FaultyBus final : public Bus {
 public:
  FaultyBus(std::unique_ptr<Bus> inner, Clock& clock, Chance& chance) : inner_(std::move(inner)), clock_(clock), chance_(chance) {}
  Task<Result<void>> publish(std::string_view topic, std::vector<Message> messages) override;
  std::unique_ptr<Subscription> subscribe(std::string_view topic, std::string_view group) override { return inner_->subscribe(topic, group); }
  Task<Result<void>> ping() override { return inner_->ping(); }

 private:
  std::unique_ptr<Bus> inner_;
  Clock& clock_;
  Chance& chance_;
};

/// A repository with one pipeline, whatever the commit.
class SimulatedForge final : public Forge {
 public:
  SimulatedForge(std::string pipeline, Clock& clock, Chance& chance) : pipeline_(std::move(pipeline)), clock_(clock), chance_(chance) {}
  Task<Result<std::string>> resolve(std::string, std::string) override;
  Task<Result<Snapshot>> snapshot(std::string, std::string sha, std::string) override;
  Task<Result<std::optional<std::vector<std::string>>>> changed_paths(std::string, std::string, std::string) override;
  Task<Result<std::optional<std::string>>> merge_base(std::string, std::string, std::string) override { co_return std::nullopt; }
  Task<Result<std::vector<std::string>>> tree_hashes(std::string, std::string, std::vector<std::string>) override;
  Task<Result<void>> deepen(std::string, std::string, std::string, int) override { co_return Result<void>{}; }
  Task<Result<std::string>> mirror(std::string) override;

 private:
  std::string pipeline_;
  Clock& clock_;
  Chance& chance_;
};

}  // namespace mayfly::simulation
