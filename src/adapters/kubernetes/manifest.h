#pragma once
// The Job or Pod of an attempt as it is sent to the API server. One manifest passes the restricted Pod Security Standard whatever the
// pipeline says; what the containers in it know of each other is in domain/runner/pod.h.

#include <string>
#include <vector>

#include "adapters/kubernetes/options.h"
#include "base/result.h"
#include "ports/executor.h"

namespace mayfly::kubernetes {

inline constexpr const char* managed_label = "mayfly.dev/managed";
inline constexpr const char* pool_label = "mayfly.dev/pool";
inline constexpr const char* attempt_label = "mayfly.dev/attempt";
inline constexpr const char* fence_label = "mayfly.dev/fence";
inline constexpr const char* network_label = "mayfly.dev/network";   // "internet" or "none": what network policies go by
inline constexpr const char* finalizer = "mayfly.dev/runner";        // of bare Pods: keeps how they ended until forget()
inline constexpr const char* service_prefix = "service-";            // of a service's container

inline constexpr Duration finished_kept = std::chrono::minutes(5);   // a Job nobody forgets, by the cluster itself
inline constexpr Duration deadline_margin = std::chrono::minutes(2); // past the runner's own limits, for activeDeadlineSeconds
inline constexpr Duration service_ready_within = std::chrono::minutes(5);
inline constexpr Duration node_silence = std::chrono::seconds(30);   // of a node, before its pods are given up
inline constexpr std::size_t max_avoided = 8;

/// "mayfly-<attempt>": the Job's name, and the bare Pod's.
std::string object_name(AttemptId attempt);
/// "mayfly.dev/managed=true,mayfly.dev/pool=NAME".
std::string selector_of(const std::string& pool);

/// Errc::invalid: no name a label can hold, a toleration that is no JSON object, no runner image.
Result<void> check(const KubernetesOptions& options);

/// JSON. Errc::unsupported: an image or isolation this pool cannot give.
Result<std::string> manifest(const KubernetesOptions& options, const std::string& name_space, const RunnerSpec& spec);

}  // namespace mayfly::kubernetes
