#pragma once
// What the cluster's objects of one attempt mean: whether its runner is on its way, runs or has ended, and why, in a sentence for people.
// Pure, so that every accident of a cluster is a test.

#include <span>
#include <string>

#include "adapters/kubernetes/objects.h"
#include "ports/executor.h"

namespace mayfly::kubernetes {

inline constexpr Duration confirmation_patience = std::chrono::seconds(20);   // of a node, to confirm that a deleted pod is gone

struct Circumstances {
  Time now{};
  Duration failing_for{};           // how long the same pod has had a trouble that may pass, see Judgement::passing_trouble
  Duration patience{};              // for such
  std::string job_trouble = {};     // why the Job controller could make no pod, from its events
};

struct Judgement {
  RunnerStatus status;
  bool passing_trouble = false;     // an image that cannot be pulled, a container that cannot be made: ended once it lasts too long
};

/// `job` is null for bare Pods. At least one of the two is there.
Judgement judge(AttemptId attempt, const Object* job, std::span<const Object* const> pods, const Circumstances& around);

/// True when the pod will not run any more.
bool is_over(const Object& pod);

}  // namespace mayfly::kubernetes
