#include "adapters/kubernetes/executor.h"

#include <algorithm>
#include <map>
#include <set>

#include "adapters/kubernetes/informer.h"
#include "adapters/kubernetes/manifest.h"
#include "adapters/kubernetes/verdict.h"
#include "async/scope.h"
#include "base/json.h"
#include "base/log.h"

namespace mayfly {
namespace {

using namespace kubernetes;

constexpr Duration events_asked_every = std::chrono::seconds(10);
constexpr std::chrono::seconds least_grace{1};   // 0 would forget a pod before its node has ended it
constexpr std::size_t max_events_bytes = 4 << 20;
constexpr Duration look_around_every = std::chrono::seconds(1);

/// What is known of an attempt besides the objects that the cluster has now.
struct Note {
  std::optional<Time> created_at = {};      // by us, and not followed yet
  std::optional<Time> failing_since = {};
  std::optional<RunnerStatus> end = {};     // once known it stands, whatever becomes of the objects
  bool told = false;
  bool stopped = false;                     // we deleted it
  Time events_asked_at{};
  std::optional<Time> podless_since = {};
  std::string job_trouble = {};
  std::string machine = {};
};

std::optional<AttemptId> attempt_of(const Object& object) {
  auto id = AttemptId::parse(object.label(attempt_label));
  return id ? std::optional(*id) : std::nullopt;
}

std::string deletion(const std::string& uid, std::int64_t grace_seconds) {
  json::object body{{"apiVersion", "v1"}, {"kind", "DeleteOptions"}, {"propagationPolicy", "Background"}, {"preconditions", json::object{{"uid", uid}}}};
  if (grace_seconds >= 0) body["gracePeriodSeconds"] = grace_seconds;
  return json::serialize(body);
}

class KubernetesExecutor final : public Executor {
 public:
  KubernetesExecutor(Loop loop, Clock& clock, Entropy& entropy, KubernetesOptions options, Cluster cluster)
      : loop_(loop), clock_(clock), options_(std::move(options)),
        api_(loop, clock, entropy, std::move(cluster), {.qps = options_.api_qps, .burst = double(options_.api_burst)}),
        name_space_(options_.name_space.empty() ? api_.name_space() : options_.name_space),
        pods_(api_, clock, followed(pods_path()), [this](auto* before, auto* after) { pod_changed(before, after); }),
        jobs_(api_, clock, followed(jobs_path()), [this](auto* before, auto* after) { changed(before, after); }) {}

  Task<void> run() override {
    Scope scope(loop_);
    scope.spawn(pods_.run());
    if (with_jobs()) scope.spawn(jobs_.run());
    scope.spawn(look_around());
    co_await scope.join();
  }

  Task<Result<void>> start(RunnerSpec spec) override {
    auto attempt = spec.attempt;
    CO_TRY_ASSIGN(auto body, manifest(options_, name_space_, spec));
    CO_TRY_ASSIGN(auto answer, co_await api_.send({.method = "POST", .path = owner_path(), .body = std::move(body)}));
    if (answer.status == 409) co_return co_await started_before(attempt, spec.fence);
    if (!answer.ok()) co_return std::unexpected(refused(read_refusal(answer)));
    CO_TRY_ASSIGN(auto object, read_object(answer.body));
    notes_[attempt].created_at = clock_.now();
    (with_jobs() ? jobs_ : pods_).saw(std::move(object));
    co_return Result<void>{};
  }

  Task<Result<void>> stop(AttemptId attempt, Duration grace) override {
    CO_TRY(co_await seen());
    auto objects = objects_of(attempt);
    if (objects.empty()) co_return Result<void>{};
    if (status_of(attempt) && !status_of(attempt)->running) co_return Result<void>{};
    notes_[attempt].stopped = true;
    auto whole_grace = std::chrono::ceil<std::chrono::seconds>(std::max<Duration>(grace, least_grace));
    if (objects.pods.empty()) CO_TRY(co_await remove(jobs_path(), objects.job->name, objects.job->uid, -1));
    for (auto& [name, uid] : unfinished(objects.pods)) CO_TRY(co_await remove(pods_path(), name, uid, whole_grace.count()));
    if (co_await ends_within(attempt, whole_grace + end_patience)) co_return Result<void>{};
    co_return fail(Errc::timeout, "the cluster does not confirm that the runner of attempt " + attempt.str() + " has ended", "its node may not answer: see kubectl get pods");
  }

  Task<Result<std::vector<RunnerStatus>>> list() override {
    CO_TRY(co_await seen());
    std::vector<RunnerStatus> all;
    for (auto attempt : attempts())
      if (auto status = status_of(attempt)) all.push_back(*std::move(status));
    co_return all;
  }

  void on_end(std::function<void(RunnerStatus)> callback) override { callback_ = std::move(callback); }

  Task<Result<void>> forget(AttemptId attempt) override {
    CO_TRY(co_await seen());
    if (auto status = status_of(attempt); status && status->running) co_return fail(Errc::conflict, "attempt " + attempt.str() + " still runs", "stop it first");
    auto objects = objects_of(attempt);
    // What has ended by our judgement only (an image that is never there) still has a place on a node.
    for (auto& [name, uid] : unfinished(objects.pods)) CO_TRY(co_await remove(pods_path(), name, uid, least_grace.count()));
    objects = objects_of(attempt);
    if (objects.job) {
      CO_TRY(co_await remove(jobs_path(), objects.job->name, objects.job->uid, -1));
    } else if (!with_jobs()) {
      for (auto& [name, uid] : names_of(objects.pods)) {
        CO_TRY(co_await release(name, uid));
        CO_TRY(co_await remove(pods_path(), name, uid, -1));
      }
    }
    forgotten_.insert(attempt);
    notes_.erase(attempt);
    if (objects_of(attempt).empty()) forgotten_.erase(attempt);
    co_return Result<void>{};
  }

  Task<Result<std::optional<TokenIssuer>>> issuer() override {
    TokenIssuer out{.name_space = name_space_, .service_account = options_.service_account};
    CO_TRY_ASSIGN(auto configuration, co_await api_.succeed({.path = "/.well-known/openid-configuration"}));
    CO_TRY_ASSIGN(auto body, parse_json(configuration));
    out.issuer = find_string(body, "issuer").value_or("");
    if (out.issuer.empty()) co_return fail(Errc::corrupt, "the cluster names no issuer of its service accounts");
    CO_TRY_ASSIGN(out.jwks, co_await api_.succeed({.path = "/openid/v1/jwks", .accept = "application/jwk-set+json"}));
    CO_TRY(parse_json(out.jwks));
    co_return out;
  }

 private:
  struct Objects {
    const Object* job = nullptr;
    std::vector<const Object*> pods = {};
    bool empty() const { return !job && pods.empty(); }
  };

  /// Everything that is there was looked at once.
  Task<Result<void>> seen() {
    auto until = clock_.now() + sync_patience;
    bool known = co_await pods_.synced(until) && (!with_jobs() || co_await jobs_.synced(until));
    if (known) co_return Result<void>{};
    co_return fail(Errc::unavailable, "the cluster of pool '" + options_.pool + "' has not been seen yet", "see the log for what it says");
  }

  bool with_jobs() const { return options_.runner_object == RunnerObject::job; }
  std::string jobs_path() const { return "/apis/batch/v1/namespaces/" + name_space_ + "/jobs"; }
  std::string pods_path() const { return "/api/v1/namespaces/" + name_space_ + "/pods"; }
  std::string owner_path() const { return with_jobs() ? jobs_path() : pods_path(); }
  InformerOptions followed(std::string path) const { return {.path = std::move(path), .selector = selector_of(options_.pool)}; }

  Objects objects_of(AttemptId attempt) const {
    Objects out;
    auto name = object_name(attempt);
    if (auto at = jobs_.objects().find(name); at != jobs_.objects().end()) out.job = &at->second;
    // A Job's pods are named after it.
    for (auto at = pods_.objects().lower_bound(name); at != pods_.objects().end() && at->first.starts_with(name); ++at) out.pods.push_back(&at->second);
    return out;
  }

  static std::vector<std::pair<std::string, std::string>> names_of(const std::vector<const Object*>& objects) {
    std::vector<std::pair<std::string, std::string>> out;
    for (auto* object : objects) out.emplace_back(object->name, object->uid);
    return out;
  }

  static std::vector<std::pair<std::string, std::string>> unfinished(std::vector<const Object*> pods) {
    std::erase_if(pods, [](auto* pod) { return is_over(*pod); });
    return names_of(pods);
  }

  std::set<AttemptId> attempts() const {
    std::set<AttemptId> out;
    for (auto& [attempt, note] : notes_) out.insert(attempt);
    for (auto* all : {&jobs_.objects(), &pods_.objects()})
      for (auto& [name, object] : *all)
        if (auto attempt = attempt_of(object); attempt && object_name(*attempt).size() <= name.size()) out.insert(*attempt);
    return out;
  }

  /// Nothing: there is no such runner, or it was forgotten and is on its way out.
  std::optional<RunnerStatus> status_of(AttemptId attempt) {
    if (forgotten_.contains(attempt)) return std::nullopt;
    auto known = notes_.find(attempt);
    if (known != notes_.end() && known->second.end) return known->second.end;
    auto objects = objects_of(attempt);
    if (objects.empty()) return known == notes_.end() ? std::nullopt : vanished(attempt, known->second);
    auto& note = notes_[attempt];
    note.created_at.reset();
    for (auto* pod : objects.pods)
      if (!pod->node.empty()) note.machine = pod->node;
    auto now = clock_.now();
    Circumstances around{.now = now, .failing_for = note.failing_since ? now - *note.failing_since : Duration{}, .patience = options_.image_patience, .job_trouble = note.job_trouble};
    auto judged = judge(attempt, objects.job, objects.pods, around);
    if (!judged.passing_trouble) note.failing_since.reset();
    else if (!note.failing_since) note.failing_since = now;
    if (!objects.pods.empty()) note.podless_since.reset();
    else if (!note.podless_since) note.podless_since = now;
    judged.status.machine = note.machine;
    if (!judged.status.running) note.end = judged.status;
    return judged.status;
  }

  /// Its objects are gone, or were created a moment ago.
  std::optional<RunnerStatus> vanished(AttemptId attempt, Note& note) {
    if (note.created_at && *note.created_at + appears_within > clock_.now()) return RunnerStatus{attempt, true, Reason::none, ""};
    auto detail = note.stopped ? "it was stopped before it began" : "its " + std::string(with_jobs() ? "Job" : "Pod") + " was deleted by somebody";
    note.end = RunnerStatus{attempt, false, note.stopped ? Reason::canceled : Reason::runner_lost, detail, note.machine};
    return note.end;
  }

  void pod_changed(const Object* before, const Object* after) {
    // What ends with a pod's last state is lost with it, unless it is looked at now.
    if (!after && before && is_over(*before))
      if (auto attempt = attempt_of(*before); attempt && !forgotten_.contains(*attempt)) keep_end(*attempt, *before);
    changed(before, after);
  }

  void keep_end(AttemptId attempt, const Object& pod) {
    auto& note = notes_[attempt];
    if (note.end || !objects_of(attempt).pods.empty()) return;
    const Object* only = &pod;
    auto judged = judge(attempt, objects_of(attempt).job, {&only, 1}, {.now = clock_.now()});
    judged.status.machine = pod.node;
    if (!judged.status.running) note.end = judged.status;
  }

  void changed(const Object* before, const Object* after) {
    auto attempt = attempt_of(after ? *after : *before);
    if (attempt) look_at(*attempt);
  }

  void look_at(AttemptId attempt) {
    if (forgotten_.contains(attempt)) {
      if (objects_of(attempt).empty()) forgotten_.erase(attempt);
      return;
    }
    auto status = status_of(attempt);
    if (!status || status->running || std::exchange(notes_[attempt].told, true)) return;
    ended_.notify();
    if (callback_) callback_(*status);
  }

  /// What no event tells: patience that runs out, Jobs that get no pod.
  Task<void> look_around() {
    for (;;) {
      co_await sleep_for(clock_, look_around_every);
      auto now = clock_.now();
      for (auto attempt : attempts()) {
        look_at(attempt);
        auto known = notes_.find(attempt);
        if (known == notes_.end()) continue;
        auto& note = known->second;
        bool ask = note.podless_since && !note.end && *note.podless_since + makes_pod_within < now && note.events_asked_at + events_asked_every < now;
        if (!ask) continue;
        note.events_asked_at = now;
        co_await ask_why_there_is_no_pod(attempt);
      }
    }
  }

  Task<void> ask_why_there_is_no_pod(AttemptId attempt) {
    auto objects = objects_of(attempt);
    if (!objects.job) co_return;
    http::Query query;
    query.add("fieldSelector", "involvedObject.uid=" + objects.job->uid);
    auto events = co_await api_.succeed({.path = "/api/v1/namespaces/" + name_space_ + "/events", .query = std::move(query), .max_answer = max_events_bytes});
    if (!events) {
      log_warn("the events of a Job cannot be read", {{"attempt", attempt.str()}, {"error", events.error().message}});
      co_return;
    }
    auto known = notes_.find(attempt);
    if (known != notes_.end()) known->second.job_trouble = newest_message(*events, "FailedCreate");
  }

  /// Success as the port has it is Errc::conflict, when the object is this attempt's.
  Task<Result<void>> started_before(AttemptId attempt, Fence fence) {
    auto path = owner_path() + "/" + object_name(attempt);
    CO_TRY_ASSIGN(auto answer, co_await api_.send({.path = path}));
    if (answer.status == 404) co_return fail(Errc::unavailable, "the runner of attempt " + attempt.str() + " was there a moment ago and is gone");
    if (!answer.ok()) co_return std::unexpected(refused(read_refusal(answer)));
    CO_TRY_ASSIGN(auto object, read_object(answer.body));
    bool ours = object.label(managed_label) == "true" && object.label(pool_label) == options_.pool && object.label(attempt_label) == attempt.str() &&
                object.label(fence_label) == std::to_string(fence.value);
    if (!ours) co_return fail(Errc::forbidden, "an object named " + object.name + " is in the cluster and is not this pool's", "delete it by hand");
    (with_jobs() ? jobs_ : pods_).saw(std::move(object));
    co_return fail(Errc::conflict, "attempt " + attempt.str() + " was started before");
  }

  /// As the port has it: what may pass by itself, or by our deployment's repair, is tried again.
  Error refused(const Refusal& refusal) const {
    auto error = error_of(refusal, "the cluster of pool '" + options_.pool + "' refused the runner");
    bool lasting = error.code == Errc::unsupported || error.code == Errc::too_large;
    if (!lasting) error.code = Errc::unavailable;
    return error;
  }

  /// Absent, and another of the same name, is success.
  Task<Result<void>> remove(std::string path, std::string name, std::string uid, std::int64_t grace_seconds) {
    Call call{.method = "DELETE", .path = path + "/" + name, .body = deletion(uid, grace_seconds)};
    CO_TRY_ASSIGN(auto answer, co_await api_.send(std::move(call)));
    if (answer.ok() || answer.status == 404 || answer.status == 409) co_return Result<void>{};
    co_return std::unexpected(error_of(read_refusal(answer), "Kubernetes: " + name + " cannot be deleted"));
  }

  /// Takes our finalizer away.
  Task<Result<void>> release(std::string name, std::string uid) {
    json::object metadata{{"uid", uid}, {"finalizers", nullptr}};
    Call call{.method = "PATCH", .path = pods_path() + "/" + name, .body = json::serialize(json::object{{"metadata", std::move(metadata)}}),
              .content_type = "application/merge-patch+json"};
    CO_TRY_ASSIGN(auto answer, co_await api_.send(std::move(call)));
    if (answer.ok() || answer.status == 404 || answer.status == 409) co_return Result<void>{};
    co_return std::unexpected(error_of(read_refusal(answer), "Kubernetes: " + name + " cannot be released"));
  }

  Task<bool> ends_within(AttemptId attempt, Duration patience) {
    for (auto until = clock_.now() + patience; clock_.now() < until;) {
      auto status = status_of(attempt);
      if (!status || !status->running) co_return true;
      co_await ended_.wait(clock_, std::min(until, clock_.now() + look_around_every));
    }
    co_return false;
  }

  Loop loop_;
  Clock& clock_;
  const KubernetesOptions options_;
  Api api_;
  const std::string name_space_;
  std::map<AttemptId, Note> notes_;
  std::set<AttemptId> forgotten_;          // whose objects are still on their way out
  std::function<void(RunnerStatus)> callback_;
  Signal ended_;
  Informer pods_;
  Informer jobs_;
};

}  // namespace

Result<std::unique_ptr<Executor>> make_kubernetes_executor(Loop loop, Clock& clock, Entropy& entropy, KubernetesOptions options) {
  TRY_ASSIGN(auto cluster, options.kubeconfig.empty() ? own_cluster() : load_kubeconfig(options.kubeconfig, options.context));
  return make_kubernetes_executor(std::move(loop), clock, entropy, std::move(options), std::move(cluster));
}

Result<std::unique_ptr<Executor>> make_kubernetes_executor(Loop loop, Clock& clock, Entropy& entropy, KubernetesOptions options, Cluster cluster) {
  TRY(check(options));
  return std::make_unique<KubernetesExecutor>(std::move(loop), clock, entropy, std::move(options), std::move(cluster));
}

}  // namespace mayfly
