#pragma once
// The ports of one process, opened. Which adapters stand behind them is decided here and nowhere else.

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "adapters/git/git_forge.h"
#include "adapters/system/system_clock.h"
#include "adapters/system/system_entropy.h"
#include "app/config.h"
#include "app/data_dir.h"
#include "net/client.h"
#include "ports/blobs.h"
#include "ports/bus.h"
#include "ports/cache.h"
#include "ports/database.h"
#include "ports/executor.h"
#include "ports/secrets.h"
#include "roles/runners/identity.h"

namespace mayfly {

struct Adapters {
  explicit Adapters(Loop l) : loop(l), clock(l) {}

  Loop loop;
  std::unique_ptr<DataDir> dir;
  SystemEntropy entropy;
  SystemClock clock;
  std::unique_ptr<Offload> offload;
  std::unique_ptr<Database> db;
  std::unique_ptr<Bus> bus;
  std::unique_ptr<Cache> cache;
  std::unique_ptr<http::Client> http;
  std::unique_ptr<Blobs> blobs;
  std::unique_ptr<Secrets> secrets;
  std::unique_ptr<GitForge> forge;
  std::unique_ptr<RunnerIdentity> identity;
  std::string token;                       // an owner's
  std::vector<std::function<Task<void>()>> upkeep;   // what adapters do besides being called, until canceled
};

/// SQLite, files and this process's memory, all in one directory.
Result<std::unique_ptr<Adapters>> open_embedded(Loop loop, const std::string& data_dir);

/// PostgreSQL, Kafka, Redis and S3 as configured; the directory keeps mirrors only.
Result<std::unique_ptr<Adapters>> open_production(Loop loop, const NodeConfig& config);

/// gVisor's program, if a pool of this machine is to have it, and it is there and works; said in the log if it does not.
Task<std::string> find_gvisor(Adapters& adapters, PoolConfig pool);

/// What starts runners in a pool. Errc::invalid, Errc::not_found: its section cannot be meant here.
Result<std::unique_ptr<Executor>> make_executor(Adapters& adapters, const PoolConfig& pool);

}  // namespace mayfly
