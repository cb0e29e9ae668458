#pragma once
// The nodes of the simulated log path, and what stands between them and the world.

#include <functional>
#include <memory>

#include "adapters/memory/bus.h"
#include "adapters/memory/cache.h"
#include "async/scope.h"
#include "roles/logs/bus_intake.h"
#include "roles/logs/live_logs.h"
#include "roles/logs/log_aggregator.h"
#include "simulation/log_path.h"

namespace mayfly::simulation {

/// The bus, which can be emptied: then whoever was subscribed finds an empty one.
class EmptiableBus final : public Bus {
 public:
  EmptiableBus(Clock& clock, Chance& chance, const LogFaults& faults) : clock_(clock), chance_(chance), faults_(faults) { empty(); }

  void empty() {
    ++generation_;
    inner_ = std::make_shared<FaultyBus>(make_memory_bus(clock_, {.max_kept_bytes = 64 << 20}), clock_, chance_);
  }
  Task<Result<void>> publish(std::string_view topic, std::vector<Message> messages) override;
  std::unique_ptr<Subscription> subscribe(std::string_view topic, std::string_view group) override;
  Task<Result<void>> ping() override { co_return Result<void>{}; }
  void calm() { calm_ = true; }

 private:
  friend class EmptiableSubscription;
  Clock& clock_;
  Chance& chance_;
  const LogFaults& faults_;
  std::shared_ptr<Bus> inner_;
  int generation_ = 0;
  bool calm_ = false;
};

class LossyCache final : public Cache {
 public:
  LossyCache(Clock& clock, Chance& chance, const LogFaults& faults) : inner_(make_memory_cache(clock)), chance_(chance), faults_(faults) {}
  Task<Result<std::optional<Cached>>> get(std::string_view key) override;
  Task<Result<bool>> set_if_newer(std::string_view key, Cached value, Duration ttl) override;
  Task<Result<void>> remove(std::string_view key) override;
  Task<Result<Admission>> admit(std::string_view key, Rate rate, std::int64_t cost) override { co_return co_await inner_->admit(key, rate, cost); }
  Task<Result<void>> publish(std::string_view channel, std::string_view message) override;
  std::unique_ptr<CacheSubscription> subscribe(std::string_view channel) override { return inner_->subscribe(channel); }
  void calm() { calm_ = true; }

 private:
  bool lost() { return !calm_ && chance_.happens(faults_.cache_lost); }
  std::unique_ptr<Cache> inner_;
  Chance& chance_;
  const LogFaults& faults_;
  bool calm_ = false;
};

/// A process as the scheduler of its machine sees it: while it is stopped, none of its calls begins, and no answer reaches it.
struct Process {
  Clock& clock;
  bool stopped = false;
  bool expelled = false;             // from its group, by a bus that has not heard of it for too long
  std::function<void()> leave = {};

  void expel() {
    expelled = true;
    if (leave) leave();
  }

  Task<void> runs() {
    while (stopped) co_await sleep_for(clock, std::chrono::milliseconds(20));
  }
};

class ProcessDatabase final : public Database {
 public:
  ProcessDatabase(Database& truth, Clock& clock, Chance& chance, Process& process) : inner_(truth, clock, chance), process_(process) {}
  Task<Result<Rows>> query(Statement statement) override;
  Task<Result<std::vector<Rows>>> transact(std::vector<Statement> unit) override;

 private:
  FaultyDatabase inner_;
  Process& process_;
};

class ProcessBus final : public Bus {
 public:
  ProcessBus(Bus& inner, Process& process) : inner_(inner), process_(process) {}
  Task<Result<void>> publish(std::string_view topic, std::vector<Message> messages) override;
  std::unique_ptr<Subscription> subscribe(std::string_view topic, std::string_view group) override;
  Task<Result<void>> ping() override { co_return Result<void>{}; }

 private:
  Bus& inner_;
  Process& process_;
};

struct LogGateway {
  FaultyDatabase db;
  BusIntake intake;
  LiveLogs live;
  Scope scope;

  LogGateway(Database& truth, Blobs& blobs, Bus& bus, Cache& cache, Clock& clock, Chance& chance, Loop loop)
      : db(truth, clock, chance), intake(db, bus, cache, clock, loop), live(db, blobs, cache, clock, loop), scope(loop) {
    scope.spawn(intake.run());
    scope.spawn(live.run());
  }
};

struct AggregatorNode {
  Process process;
  ProcessDatabase db;
  ProcessBus bus;
  LogAggregator aggregator;
  Scope scope;

  AggregatorNode(Database& truth, Blobs& blobs, Bus& outer, Cache& cache, Clock& clock, Chance& chance, Loop loop)
      : process{clock}, db(truth, clock, chance, process), bus(outer, process), aggregator(db, blobs, bus, cache, clock, loop), scope(loop) {
    scope.spawn(aggregator.run());
  }
};

}  // namespace mayfly::simulation
