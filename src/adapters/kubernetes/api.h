#pragma once
// Calls to one Kubernetes API server: authenticated, at a bounded rate, and repeated while that may help. Everything we ask for may be
// asked for twice (objects have names and deletions name a uid), so an answer that was lost is asked for again.

#include <memory>
#include <string>

#include "adapters/kubernetes/cluster.h"
#include "adapters/kubernetes/refusal.h"
#include "async/mutex.h"
#include "net/client.h"
#include "ports/clock.h"

namespace mayfly::kubernetes {

inline constexpr Duration token_read_again_after = std::chrono::seconds(30);

struct ApiOptions {
  double qps = 50;              // requests a second over time, and
  double burst = 100;           // at once
  Duration try_limit = std::chrono::seconds(15);       // of one try
  Duration give_up_after = std::chrono::seconds(30);   // no try begins after this
  Duration first_pause = std::chrono::milliseconds(100);
  Duration longest_pause = std::chrono::seconds(5);
};

struct Call {
  std::string method = "GET";
  std::string path = {};        // "/api/v1/namespaces/ci/pods"
  http::Query query = {};
  std::string body = {};
  std::string content_type = "application/json";
  std::string accept = "application/json";
  std::size_t max_answer = 4 << 20;
};

class Api final {
 public:
  Api(Loop loop, Clock& clock, Entropy& entropy, Cluster cluster, ApiOptions options = {});

  /// The server's last word: success, or a refusal that will not change by itself (4xx but 408 and 429). Others, timeouts and broken
  /// connections are met with another try, after what Retry-After says or a growing pause, until Errc::unavailable.
  Task<Result<http::ClientResponse>> send(Call call);
  /// The body of a success; error_of() a refusal.
  Task<Result<std::string>> succeed(Call call);
  /// An answer that goes on. One try: whoever follows a stream tries again by itself. A refusal is an error as of succeed(), and 410
  /// Errc::not_found. try_limit is for its head; set_deadline() before reading on.
  Task<Result<std::unique_ptr<http::ClientStream>>> open(Call call);

  const std::string& name_space() const { return cluster_.name_space; }
  /// Between failures of any kind: half of it is chance. `failures` from 0.
  Duration pause_after(int failures);

 private:
  Task<Result<http::ClientRequest>> request(const Call& call);
  Result<std::string> token();
  Task<void> wait_for_turn();
  static std::string what(const Call& call) { return "Kubernetes: " + call.method + " " + call.path; }

  Clock& clock_;
  Entropy& entropy_;
  const Cluster cluster_;
  const ApiOptions options_;
  http::Client client_;
  Mutex turns_;
  double allowance_;
  Time filled_at_{};
  Time not_before_{};           // the server has asked us to wait
  std::string token_;
  Time token_read_at_{};
};

}  // namespace mayfly::kubernetes
