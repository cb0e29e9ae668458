#pragma once
// Executor on a Kubernetes cluster: each attempt is one Job, or one bare Pod, and the API server is the record of it. Made with the
// attempt's name before anything of it runs, and deleted when the attempt is forgotten; so any number of processes may come and go, and
// an attempt that was handed out twice is still one object.

#include <memory>

#include "adapters/kubernetes/api.h"
#include "adapters/kubernetes/options.h"
#include "ports/executor.h"

namespace mayfly {

inline constexpr Duration sync_patience = std::chrono::seconds(20);      // of list(), for the first look at the cluster
inline constexpr Duration end_patience = std::chrono::seconds(10);       // of stop(), past the grace
inline constexpr Duration appears_within = std::chrono::minutes(2);      // a created object, in what is followed
inline constexpr Duration makes_pod_within = std::chrono::seconds(5);    // the Job controller, before its events are asked why not

/// Spawn its run(): without it nothing is followed, and list() fails. stop() returns when the runner has ended; Errc::timeout when the
/// cluster does not confirm it within the grace and end_patience. Errc::invalid for options that cannot be meant; errors of load_kubeconfig and own_cluster.
/// issuer() needs the role system:service-account-issuer-discovery.
Result<std::unique_ptr<Executor>> make_kubernetes_executor(Loop loop, Clock& clock, Entropy& entropy, KubernetesOptions options);
/// The same in a cluster that was found already.
Result<std::unique_ptr<Executor>> make_kubernetes_executor(Loop loop, Clock& clock, Entropy& entropy, KubernetesOptions options, kubernetes::Cluster cluster);

}  // namespace mayfly
