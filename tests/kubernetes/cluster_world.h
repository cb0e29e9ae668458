#pragma once
// A namespace of a real API server for one test: the rights that deploy/kubernetes gives a pool's keeper, the restricted Pod Security
// Standard, and a node that is played by a thread. Where the API server is, MAYFLY_TEST_KUBERNETES says (scripts/servers up kubernetes).

#include <functional>
#include <memory>
#include <string>

#include "adapters/kubernetes/cluster.h"
#include "adapters/kubernetes/options.h"
#include "base/ids.h"
#include "base/json.h"
#include "ports/executor.h"

namespace mayfly::testing_support {

/// The kubeconfig of an administrator, or why there is none.
std::string kubeconfig_of_tests();

/// Calls as the administrator, blocking.
class Admin final {
 public:
  Admin();
  ~Admin();
  const kubernetes::Cluster& cluster() const;
  /// The answer's status and object.
  std::pair<int, json::value> call(std::string method, std::string path, std::string body = {}, std::string content_type = "application/json");
  json::value must(std::string method, std::string path, std::string body = {}, std::string content_type = "application/json");

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// What becomes of a pod, by the name of its job's image.
inline constexpr const char* ends_image = "simulated/ends:1";       // at once, out of memory by its runner's word, with the detail "as it was told"
inline constexpr const char* waits_image = "simulated/waits:1";     // until it is deleted; the runner says then that it was canceled
inline constexpr const char* ignores_image = "simulated/ignores:1"; // killed when the grace of its deletion is over
inline constexpr const char* unpullable_image = "simulated/unpullable:1";   // the node says `manifest unknown`
inline constexpr const char* pending_image = "simulated/pending:1"; // no node takes it

class ClusterWorld final {
 public:
  explicit ClusterWorld(RunnerObject object);
  ~ClusterWorld();

  const std::string& name_space() const { return name_space_; }
  /// As the pool's keeper has them.
  KubernetesOptions options() const;
  kubernetes::Cluster keeper() const;
  Admin& admin() { return admin_; }

  std::string pods_path() const { return "/api/v1/namespaces/" + name_space_ + "/pods"; }
  std::string jobs_path() const { return "/apis/batch/v1/namespaces/" + name_space_ + "/jobs"; }
  /// Objects of an attempt: "Job/mayfly-… Pod/mayfly-…".
  std::string objects_of(AttemptId attempt);
  std::vector<std::string> pods_of(AttemptId attempt);
  /// True once the node has it running, or it has ended.
  bool is_settled(AttemptId attempt);
  RunnerSpec make_spec(const std::string& image);

 private:
  struct Node;
  void apply_rights();

  Admin admin_;
  RunnerObject object_;
  std::string name_space_;
  std::string token_;
  std::unique_ptr<Node> node_;
};

}  // namespace mayfly::testing_support
