#include "adapters/kubernetes/verdict.h"

#include <algorithm>
#include <array>

#include "adapters/kubernetes/manifest.h"
#include "adapters/kubernetes/refusal.h"
#include "adapters/host_runners/runner_files.h"
#include "domain/runner/pod.h"

namespace mayfly::kubernetes {
namespace {

constexpr std::size_t shown_bytes = 500;   // of what the cluster says

struct Why {
  Reason reason = Reason::none;
  std::string detail = {};
};

constexpr std::string_view pull_troubles[] = {"ErrImagePull", "ImagePullBackOff", "ImageInspectError", "RegistryUnavailable", "SignatureValidationFailed"};
constexpr std::string_view hopeless_pulls[] = {"InvalidImageName", "ErrImageNeverPull"};
constexpr std::string_view create_troubles[] = {"CreateContainerConfigError", "CreateContainerError", "RunContainerError", "PreCreateHookError", "PostStartHookError"};

bool contains(const auto& words, std::string_view word) { return std::ranges::find(words, word) != std::end(words); }

std::string shown(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.remove_suffix(1);
  return std::string(text.size() <= shown_bytes ? text : text.substr(text.size() - shown_bytes));
}

std::string with(std::string sentence, std::string_view words) {
  auto more = shown(words);
  return more.empty() ? sentence : sentence + ": " + more;
}

std::string node_of(const Object& pod) { return pod.node.empty() ? "its node" : "node " + pod.node; }

/// Of a disruption that the cluster announced, whether or not the pod has ended of it. (Kubernetes, "Pod disruption conditions".)
std::optional<Why> disruption(const Object& pod) {
  auto* target = pod.condition("DisruptionTarget");
  if (!target || !target->is_true) return std::nullopt;
  if (target->reason == "PreemptionByScheduler") return Why{Reason::preempted, with("its place on " + node_of(pod) + " was given to something more important", target->message)};
  if (target->reason == "EvictionByEvictionAPI") return Why{Reason::evicted, with(node_of(pod) + " was drained", target->message)};
  if (target->reason == "DeletionByTaintManager") return Why{Reason::node_lost, with(node_of(pod) + " does not answer", target->message)};
  if (target->reason == "DeletionByPodGC") return Why{Reason::node_lost, with(node_of(pod) + " is gone", target->message)};
  return Why{Reason::evicted, with(node_of(pod) + " ended it", target->message)};
}

/// Of a pod that its node gave up as a whole.
std::optional<Why> pod_wide(const Object& pod) {
  auto& reason = pod.reason;
  if (reason.empty()) return std::nullopt;
  if (reason == "Evicted") {
    bool own_disk = pod.message.contains("emptyDir") || pod.message.contains("EmptyDir") || pod.message.contains("ephemeral local storage usage exceeds") ||
                    pod.message.contains("exceeded its local ephemeral storage limit");
    if (own_disk) return Why{Reason::disk_full, with("the job wrote more than its disk holds", pod.message)};
    return Why{Reason::evicted, with(node_of(pod) + " needed the room", pod.message)};
  }
  if (reason == "Preempting") return Why{Reason::preempted, with(node_of(pod) + " gave its place to something more important", pod.message)};
  if (reason == "DeadlineExceeded") return Why{Reason::timeout, "the job ran longer than it may"};
  if (reason == "NodeLost" || reason == "NodeShutdown" || reason == "Shutdown" || reason == "Terminated") return Why{Reason::node_lost, with(node_of(pod) + " shut down", pod.message)};
  if (reason.starts_with("OutOf") || reason == "NodeAffinity" || reason == "UnexpectedAdmissionError" || reason == "NodePorts")
    return Why{Reason::unschedulable, with(node_of(pod) + " did not take it (" + reason + ")", pod.message)};
  return Why{Reason::runner_lost, with("the cluster ended it (" + reason + ")", pod.message)};
}

const Ended* last_end(const Container* container) {
  if (!container) return nullptr;
  if (container->ended) return &*container->ended;
  return container->ended_before ? &*container->ended_before : nullptr;
}

std::optional<Why> own_word(const Object& pod) {
  auto* ended = last_end(pod.container(pod::runner_container));
  if (!ended) return std::nullopt;
  auto word = ended_file_from_json(ended->message);
  if (!word) return std::nullopt;
  return Why{word->reason, word->detail};
}

std::optional<Why> memory(const Object& pod) {
  auto* job = last_end(pod.container(pod::job_container));
  if (job && job->reason == "OOMKilled") return Why{Reason::oom, "the job ran out of memory"};
  auto* runner = last_end(pod.container(pod::runner_container));
  if (runner && runner->reason == "OOMKilled") return Why{Reason::runner_lost, "mayfly-runner ran out of memory beside the job: give the pool more kubernetes.runner_memory"};
  return std::nullopt;
}

/// A service that ended or was ended while it was needed; none once the job has ended, for then all are told to go.
std::optional<Why> service(const Object& pod) {
  auto* job = pod.container(pod::job_container);
  bool job_over = job && job->ended;
  for (auto& one : pod.containers) {
    if (!one.name.starts_with(service_prefix)) continue;
    auto* ended = one.ended_before ? &*one.ended_before : !job_over && !pod.deletion && one.ended ? &*one.ended : nullptr;
    if (!ended) continue;
    auto name = "the service '" + one.name.substr(std::string_view(service_prefix).size()) + "'";
    if (ended->reason == "OOMKilled") return Why{Reason::service, name + " ran out of memory"};
    bool came_up = one.started || (job && (job->running || job->ended));
    auto what = came_up ? name + " ended with exit code " + std::to_string(ended->exit_code) : name + " did not become ready (exit code " + std::to_string(ended->exit_code) + ")";
    return Why{Reason::service, with(what, ended->message)};
  }
  return std::nullopt;
}

std::optional<Why> container_that_could_not_start(const Object& pod) {
  for (auto& one : pod.containers) {
    auto* ended = last_end(&one);
    bool never_ran = ended && (ended->reason == "StartError" || ended->reason == "ContainerCannotRun");
    if (never_ran) return Why{Reason::runner_lost, with("the container '" + one.name + "' could not be started", ended->message)};
  }
  auto* install = last_end(pod.container(pod::install_container));
  if (install && install->exit_code != 0)
    return Why{Reason::runner_lost, with("the runner image failed with exit code " + std::to_string(install->exit_code), install->message)};
  return std::nullopt;
}

Why end_of(const Object& pod) {
  if (auto why = memory(pod)) return *why;
  auto said = own_word(pod);
  bool was_ended = said && (said->reason == Reason::evicted || said->reason == Reason::runner_lost);   // the cluster knows better by whom
  if (said && !(was_ended && disruption(pod))) return *said;
  for (auto look : {disruption, pod_wide, service, container_that_could_not_start})
    if (auto why = look(pod)) return *why;
  auto* job = last_end(pod.container(pod::job_container));
  if (pod.deletion && (!job || job->exit_code != 0)) return {Reason::runner_lost, "its pod was deleted"};
  if (pod.phase == "Succeeded" || (job && job->exit_code == 0)) return {Reason::exit_code, "its pod ended"};
  if (job) return {Reason::runner_lost, with("the job's container ended with exit code " + std::to_string(job->exit_code), job->message)};
  return {Reason::runner_lost, "its pod failed before the job began"};
}

struct Trouble {
  Why why;
  bool hopeless = false;
};

/// What keeps a pod from running that is on its node already.
std::optional<Trouble> trouble(const Object& pod) {
  for (auto& one : pod.containers) {
    if (one.waiting.empty()) continue;
    bool hopeless = contains(hopeless_pulls, one.waiting);
    if (hopeless || contains(pull_troubles, one.waiting))
      return Trouble{{Reason::image_pull, with("the image '" + one.image + "' cannot be pulled", one.waiting_message)}, hopeless};
    if (contains(create_troubles, one.waiting))
      return Trouble{{Reason::refused, with("the container '" + one.name + "' cannot be made (" + one.waiting + ")", one.waiting_message)}, false};
  }
  return std::nullopt;
}

std::optional<Why> not_scheduled(const Object& pod) {
  auto* scheduled = pod.condition("PodScheduled");
  if (!scheduled || scheduled->is_true || scheduled->reason != "Unschedulable") return std::nullopt;
  return Why{Reason::unschedulable, with("no node of the cluster can take it", scheduled->message)};
}

/// The control plane has marked the pod for its node's silence, while the node's last word was that all is well.
bool node_is_silent(const Object& pod) {
  auto *ready = pod.condition("Ready"), *containers = pod.condition("ContainersReady");
  return pod.phase == "Running" && ready && !ready->is_true && containers && containers->is_true;
}

Judgement running(AttemptId attempt, Why why = {}, bool passing = false) { return {{attempt, true, why.reason, std::move(why.detail)}, passing}; }
Judgement ended(AttemptId attempt, Why why) { return {{attempt, false, why.reason, std::move(why.detail)}}; }

Judgement judge_pod(AttemptId attempt, const Object& pod, const Circumstances& around) {
  if (is_over(pod)) return ended(attempt, end_of(pod));
  if (auto why = memory(pod); why && why->reason == Reason::oom) return ended(attempt, *why);
  if (pod.deletion) {
    if (pod.node.empty()) return ended(attempt, end_of(pod));   // it never ran
    auto why = disruption(pod).value_or(Why{Reason::node_lost, node_of(pod) + " does not confirm that its pod is gone"});
    if (*pod.deletion + confirmation_patience < around.now) return ended(attempt, std::move(why));
    return running(attempt);
  }
  if (auto why = service(pod)) return ended(attempt, *why);
  if (auto why = container_that_could_not_start(pod)) return ended(attempt, *why);
  if (auto found = trouble(pod)) {
    bool over = found->hopeless || around.failing_for > around.patience;
    return over ? ended(attempt, std::move(found->why)) : running(attempt, std::move(found->why), true);
  }
  if (auto why = not_scheduled(pod)) return running(attempt, *why);
  if (node_is_silent(pod)) return running(attempt, {Reason::node_lost, node_of(pod) + " does not answer"});
  return running(attempt);
}

Judgement judge_job(AttemptId attempt, const Object& job, const Circumstances& around) {
  if (auto* failed = job.condition("Failed"); failed && failed->is_true) {
    if (failed->reason == "DeadlineExceeded") return ended(attempt, {Reason::timeout, "the job ran longer than it may"});
    return ended(attempt, {Reason::runner_lost, with("its pod is gone", failed->message)});
  }
  if (auto* complete = job.condition("Complete"); complete && complete->is_true) return ended(attempt, {Reason::exit_code, "its pod ended"});
  if (job.deletion) return running(attempt);
  switch (forbidden_by(around.job_trouble)) {
    case Forbidden::admission: return ended(attempt, {Reason::refused, with("the cluster refused its pod", around.job_trouble)});
    case Forbidden::quota: return running(attempt, {Reason::unschedulable, with("the namespace's quota is used up", around.job_trouble)});
    case Forbidden::permission:
    case Forbidden::no: break;
  }
  return running(attempt, around.job_trouble.empty() ? Why{} : Why{Reason::unschedulable, with("the cluster makes no pod for it", around.job_trouble)});
}

}  // namespace

bool is_over(const Object& pod) { return pod.phase == "Succeeded" || pod.phase == "Failed"; }

Judgement judge(AttemptId attempt, const Object* job, std::span<const Object* const> pods, const Circumstances& around) {
  // A Job may start a second pod, which finds that it is one too many: the attempt lives as long as one of them does.
  std::optional<Judgement> last;
  for (auto* pod : pods) {
    auto judged = judge_pod(attempt, *pod, around);
    if (judged.status.running) return judged;
    bool says_more = !last || last->status.reason == Reason::exit_code || last->status.reason == Reason::runner_lost;
    if (says_more) last = std::move(judged);
  }
  if (job) {
    auto* failed = job->condition("Failed");
    bool late = failed && failed->is_true && failed->reason == "DeadlineExceeded";
    if (late || !last) return judge_job(attempt, *job, around);
  }
  return *last;
}

}  // namespace mayfly::kubernetes
