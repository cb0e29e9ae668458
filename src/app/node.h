#pragma once
// One process of Mayfly: the roles it was given, over its adapters. `mayfly up` is a node with every role that is alone;
// `mayfly serve` one of many.

#include <memory>
#include <string>
#include <vector>

#include "app/adapters.h"
#include "async/scope.h"
#include "net/server.h"
#include "roles/common/lease.h"
#include "roles/common/metrics.h"
#include "roles/gateway/gateway.h"
#include "roles/logs/bus_intake.h"
#include "roles/logs/compactor.h"
#include "roles/logs/live_logs.h"
#include "roles/logs/log_aggregator.h"
#include "roles/logs/log_store.h"
#include "roles/scheduler/usage.h"

namespace mayfly {

struct NodeOptions {
  std::string name;                    // this process and no other; of one that is alone always the same
  bool alone = false;                  // nobody else works on this database, so nothing is waited for
  std::vector<std::string> roles;
  std::string listen;
  std::string public_url, runner_url;  // empty: this process's own
  std::vector<PoolConfig> pools;
  RateTable rates = {};
};

class Node final {
 public:
  /// Listens at once; nothing runs yet.
  static Result<std::unique_ptr<Node>> open(std::unique_ptr<Adapters> adapters, NodeOptions options);
  ~Node();

  const std::string& base_url() const { return base_url_; }
  Adapters& adapters() { return *adapters_; }
  Builds& builds() { return *builds_; }

  /// Until stop() has drained, or the caller is canceled. Runners go on without us.
  Task<void> run();
  void stop();

 private:
  Node(std::unique_ptr<Adapters> adapters, NodeOptions options);
  Result<void> open_roles();
  void open_logs();
  LogIntake& log_intake();
  LogReader& log_reader();
  bool has(std::string_view role) const;
  void start_roles(Scope& roles);
  Task<void> schedule(Leadership leadership);
  Task<void> keep_pool(PoolConfig pool, Leadership leadership);
  Task<void> lead(Lease& lease, std::function<Task<void>(Leadership)> work);
  Task<void> lead_pool(Lease& lease, PoolConfig pool);
  Task<void> keep_house();
  Task<void> make_owner();
  Task<std::vector<Check>> checks();

  std::unique_ptr<Adapters> adapters_;
  NodeOptions options_;
  std::string base_url_;
  http::Router router_;
  std::unique_ptr<http::Server> http_;
  Metrics metrics_;
  std::unique_ptr<Builds> builds_;
  std::unique_ptr<LogStore> log_store_;       // alone: takes in, stores and shows; else these three do
  std::unique_ptr<BusIntake> bus_intake_;
  std::unique_ptr<LiveLogs> live_logs_;
  std::unique_ptr<LogAggregator> aggregator_;
  std::unique_ptr<LogCompactor> compactor_;
  std::unique_ptr<ArtifactStore> artifacts_;
  std::unique_ptr<Attempts> attempts_;
  std::unique_ptr<Shells> shells_;
  std::unique_ptr<Deliveries> deliveries_;
  std::unique_ptr<WaitReasons> reasons_;
  std::unique_ptr<RateLimits> limits_;
  std::unique_ptr<UsageStore> usage_;
  std::unique_ptr<Access> access_;
  std::unique_ptr<Gateway> gateway_;
  std::vector<std::unique_ptr<Lease>> leases_;
};

}  // namespace mayfly
