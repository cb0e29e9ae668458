#pragma once
// Starts runners somewhere and says what became of them. Idempotent by attempt: starting one twice is one runner.

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "async/task.h"
#include "base/ids.h"
#include "base/result.h"
#include "base/time.h"
#include "domain/build/reason.h"
#include "domain/pipeline/plan.h"

namespace mayfly {

struct RunnerSpec {
  AttemptId attempt;
  Fence fence;
  std::string boot_token;    // single use; the only thing the runner is born with
  std::string api_url;       // where it trades the token; gateways to one server, separated by commas
  std::string image;         // "host", "oci:PATH[:TAG]" or a directory
  std::int64_t cpu_milli = 1000;
  std::int64_t memory_bytes = 0;
  std::int64_t disk_bytes = 0;
  std::int64_t pids = 0;
  bool network = true;
  Duration timeout{};        // the reaper's hard limit
  std::string isolation = "sandbox";         // a word of the pipeline; one that the pool offers
  std::vector<ServiceSpec> services = {};
  std::vector<std::string> avoid_machines = {};   // where earlier attempts of the job were lost; taken all the same when there is no other
};

struct RunnerStatus {
  AttemptId attempt;
  bool running = false;
  /// Once it no longer runs: why, as far as the platform knows (exit_code when it simply ended). While it is on its way or runs: what
  /// would be the reason if nothing changed (no machine takes it, its machine does not answer); none when all is well.
  Reason reason = Reason::none;
  std::string detail;        // a sentence for people
  std::string machine = {};  // where it runs, as RunnerSpec::avoid_machines names it; empty: not known, or there is but one
};

/// How a platform vouches for what runs on it: by tokens (JWT) that only a runner's own container has.
struct TokenIssuer {
  std::string issuer = {};
  std::string jwks = {};              // its public keys, as it has them (RFC 7517)
  std::string name_space = {};        // where runners live, and
  std::string service_account = {};   // as whom

  bool operator==(const TokenIssuer&) const = default;
};

class Executor {
 public:
  virtual ~Executor() = default;

  /// What it does besides being called, until canceled: following a platform, for example. Spawn it for as long as it is used.
  virtual Task<void> run() { co_return; }

  /// Returns when the runner is on its way. Errc::conflict: this attempt was started before (then it is one of list()).
  /// Errc::unsupported: the spec asks for what this pool cannot do. Errc::unavailable: try another time.
  virtual Task<Result<void>> start(RunnerSpec spec) = 0;

  /// SIGTERM to the job's processes, SIGKILL to everything after `grace`. Absent is success.
  virtual Task<Result<void>> stop(AttemptId attempt, Duration grace) = 0;

  /// Every runner of this pool, also those started by an earlier process of ours, and ended ones until forget().
  virtual Task<Result<std::vector<RunnerStatus>>> list() = 0;

  /// Called on the loop when a runner ends. Edges may be missed; list() is the level.
  virtual void on_end(std::function<void(RunnerStatus)> callback) = 0;

  /// Nothing where runners are born with a boot token instead. Errc::unavailable: try another time.
  virtual Task<Result<std::optional<TokenIssuer>>> issuer() { co_return std::nullopt; }

  /// Removes what an ended runner left on the machine. Absent is success.
  virtual Task<Result<void>> forget(AttemptId attempt) = 0;
};

}  // namespace mayfly
