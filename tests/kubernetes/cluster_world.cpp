#include "kubernetes/cluster_world.h"

#include <gtest/gtest.h>
#include <sys/random.h>

#include <atomic>
#include <cstdlib>
#include <fstream>
#include <mutex>
#include <set>
#include <sstream>
#include <thread>

#include "adapters/kubernetes/api.h"
#include "adapters/kubernetes/manifest.h"
#include "adapters/system/system_clock.h"
#include "adapters/system/system_entropy.h"
#include "base/digest.h"
#include "domain/pipeline/yaml.h"
#include "support/run.h"

namespace mayfly::testing_support {
namespace {

using namespace std::chrono_literals;

constexpr auto node_turn = 30ms;
constexpr std::size_t answer_bytes = 32 << 20;

std::string random_hex(std::size_t bytes) {
  std::string out(bytes, '\0');
  if (getrandom(out.data(), out.size(), 0) != ssize_t(out.size())) throw std::runtime_error("no randomness");
  return to_hex({reinterpret_cast<const std::uint8_t*>(out.data()), out.size()});
}

Time now() { return std::chrono::time_point_cast<Duration>(std::chrono::system_clock::now()); }

std::string replaced(std::string text, const std::string& what, const std::string& by) {
  for (std::size_t at = 0; (at = text.find(what, at)) != text.npos; at += by.size()) text.replace(at, what.size(), by);
  return text;
}

json::object container(std::string_view name, json::object state, bool started = true) {
  return {{"name", name}, {"image", "simulated"}, {"imageID", ""}, {"ready", true}, {"restartCount", 0}, {"started", started}, {"state", std::move(state)}};
}

json::object running() { return {{"running", json::object{{"startedAt", to_rfc3339(now()).substr(0, 19) + "Z"}}}}; }
json::object terminated(int code, std::string_view reason, std::string_view message = {}) {
  return {{"terminated", json::object{{"exitCode", code}, {"reason", reason}, {"message", message}}}};
}

json::object waiting(std::string_view reason, std::string_view message) { return {{"waiting", json::object{{"reason", reason}, {"message", message}}}}; }

json::object condition(std::string_view type, bool is_true) { return {{"type", type}, {"status", is_true ? "True" : "False"}}; }

std::string status_text(std::string_view phase, json::object runner, json::object job, bool ready) {
  json::array inits, mains, conditions;
  inits.push_back(container("install", terminated(0, "Completed")));
  inits.push_back(container("runner", std::move(runner)));
  mains.push_back(container("job", std::move(job)));
  for (auto [type, is_true] : {std::pair{"Ready", ready}, {"ContainersReady", ready}, {"Initialized", true}, {"PodScheduled", true}}) conditions.push_back(condition(type, is_true));
  json::object status{{"phase", phase}, {"initContainerStatuses", std::move(inits)}, {"containerStatuses", std::move(mains)}, {"conditions", std::move(conditions)}};
  return json::serialize(json::object{{"status", std::move(status)}});
}

}  // namespace

std::string kubeconfig_of_tests() {
  auto* path = std::getenv("MAYFLY_TEST_KUBERNETES");
  return path ? path : "";
}

struct Admin::Impl {
  TestLoop loop;
  SystemClock clock{loop.loop()};
  SystemEntropy entropy;
  kubernetes::Cluster cluster = kubernetes::load_kubeconfig(kubeconfig_of_tests(), "").value();
  kubernetes::Api api{loop.loop(), clock, entropy, cluster, {.qps = 2000, .burst = 2000}};
};

Admin::Admin() : impl_(std::make_unique<Impl>()) {}
Admin::~Admin() = default;
const kubernetes::Cluster& Admin::cluster() const { return impl_->cluster; }

std::pair<int, json::value> Admin::call(std::string method, std::string path, std::string body, std::string content_type) {
  kubernetes::Call call{.method = std::move(method), .path = std::move(path), .body = std::move(body), .content_type = std::move(content_type), .max_answer = answer_bytes};
  auto answer = impl_->loop.run(impl_->api.send(std::move(call)));
  if (!answer) throw std::runtime_error(answer.error().message);
  auto read = parse_json(answer->body);
  return {answer->status, read ? *std::move(read) : json::value()};
}

json::value Admin::must(std::string method, std::string path, std::string body, std::string content_type) {
  auto what = method + " " + path;
  auto [status, read] = call(std::move(method), std::move(path), std::move(body), std::move(content_type));
  if (status >= 300) throw std::runtime_error(what + ": " + json::serialize(read));
  return read;
}

/// Takes every pod of the namespace, and does with it what its image says.
struct ClusterWorld::Node {
  explicit Node(ClusterWorld& world) : world_(world), thread_([this] { run(); }) {}
  ~Node() {
    stopping_ = true;
    thread_.join();
  }

  bool has_settled(AttemptId attempt) {
    std::scoped_lock lock(mutex_);
    return settled_.contains(attempt);
  }

 private:
  void run() {
    Admin admin;
    for (; !stopping_; std::this_thread::sleep_for(node_turn)) {
      try {
        auto pods = admin.must("GET", world_.pods_path());
        for (auto& pod : pods.at("items").get_array()) take(admin, pod);
      } catch (const std::exception& trouble) {
        if (!stopping_) std::fprintf(stderr, "the simulated node: %s\n", trouble.what());
      }
    }
  }

  void take(Admin& admin, const json::value& pod) {
    auto name = *find_string(pod, "metadata.name");
    auto path = world_.pods_path() + "/" + name;
    auto phase = find_string(pod, "status.phase").value_or("");
    auto image = std::string(pod.at("spec").at("containers").at(0).at("image").get_string());
    auto deleted = find_string(pod, "metadata.deletionTimestamp");
    bool over = phase == "Succeeded" || phase == "Failed";
    if (!find_string(pod, "spec.nodeName")) {
      if (deleted || over || image == pending_image) return;
      json::object binding{{"apiVersion", "v1"}, {"kind", "Binding"}, {"metadata", json::object{{"name", name}}},
                           {"target", json::object{{"apiVersion", "v1"}, {"kind", "Node"}, {"name", "played-by-the-test"}}}};
      (void)admin.call("POST", path + "/binding", json::serialize(binding));
      return;
    }
    if (over) {
      if (deleted) (void)admin.call("DELETE", path, R"({"gracePeriodSeconds": 0})");
      return settle(pod);
    }
    if (deleted) return end(admin, path, pod, image, *deleted);
    if (phase != "Pending") return;
    if (image == ends_image) {
      patch(admin, path, status_text("Failed", terminated(0, "Completed", R"({"reason": "oom", "detail": "as it was told"})"), terminated(1, "Error"), false));
    } else if (image == unpullable_image) {
      patch(admin, path, status_text("Pending", running(), waiting("ImagePullBackOff", "Back-off pulling image: manifest unknown"), false));
    } else {
      patch(admin, path, status_text("Running", running(), running(), true));
    }
    settle(pod);
  }

  void end(Admin& admin, const std::string& path, const json::value& pod, const std::string& image, const std::string& deadline) {
    bool by_force = find_int(pod, "metadata.deletionGracePeriodSeconds").value_or(0) == 0;
    bool late = now() >= parse_rfc3339(deadline).value() + 1s;   // it has whole seconds, rounded down
    if (!by_force && image == waits_image)
      patch(admin, path, status_text("Failed", terminated(0, "Completed", R"({"reason": "canceled", "detail": "by a signal"})"), terminated(1, "Error"), false));
    else if (by_force || late)
      patch(admin, path, status_text("Failed", terminated(137, "Error"), terminated(137, "Error"), false));
  }

  void patch(Admin& admin, const std::string& path, const std::string& status) {
    (void)admin.call("PATCH", path + "/status", status, "application/strategic-merge-patch+json");
  }

  void settle(const json::value& pod) {
    auto* labels = find(pod, "metadata.labels");
    auto* label = labels ? labels->get_object().if_contains(kubernetes::attempt_label) : nullptr;
    if (!label) return;
    std::scoped_lock lock(mutex_);
    settled_.insert(*AttemptId::parse(std::string_view(label->get_string())));
  }

  ClusterWorld& world_;
  std::atomic<bool> stopping_ = false;
  std::mutex mutex_;
  std::set<AttemptId> settled_;
  std::thread thread_;
};

ClusterWorld::ClusterWorld(RunnerObject object) : object_(object), name_space_("mayfly-test-" + random_hex(5)) {
  apply_rights();
  node_ = std::make_unique<Node>(*this);
}

ClusterWorld::~ClusterWorld() {
  node_.reset();
  (void)admin_.call("DELETE", "/api/v1/namespaces/" + name_space_);
  // What has our finalizer would keep the namespace.
  auto pods = admin_.must("GET", pods_path());
  for (auto& pod : pods.at("items").get_array()) {
    auto path = pods_path() + "/" + *find_string(pod, "metadata.name");
    (void)admin_.call("PATCH", path, R"({"metadata": {"finalizers": null}})", "application/merge-patch+json");
    (void)admin_.call("DELETE", path, R"({"gracePeriodSeconds": 0})");
  }
}

/// Those of deploy/kubernetes/50-runners.yaml, in this namespace.
void ClusterWorld::apply_rights() {
  std::ifstream in(std::string(MAYFLY_SOURCE_DIR) + "/deploy/kubernetes/50-runners.yaml");
  std::ostringstream text;
  text << in.rdbuf();
  std::istringstream documents(text.str());
  std::string document;
  auto apply = [&] {
    auto read = parse_json(yaml_to_json(document).value()).value();
    document.clear();
    auto kind = *find_string(read, "kind");
    auto body = replaced(json::serialize(read), "\"mayfly-runners\"", "\"" + name_space_ + "\"");
    body = replaced(body, "\"mayfly\"", "\"" + name_space_ + "\"");
    auto in_namespace = "/namespaces/" + name_space_;
    if (kind == "Namespace") admin_.must("POST", "/api/v1/namespaces", body);
    if (kind == "ServiceAccount") admin_.must("POST", "/api/v1" + in_namespace + "/serviceaccounts", body);
    if (kind == "Role") admin_.must("POST", "/apis/rbac.authorization.k8s.io/v1" + in_namespace + "/roles", body);
    if (kind == "RoleBinding") admin_.must("POST", "/apis/rbac.authorization.k8s.io/v1" + in_namespace + "/rolebindings", body);
  };
  for (std::string line; std::getline(documents, line);) {
    if (line == "---") apply();
    else document += line + "\n";
  }
  apply();
  auto token = admin_.must("POST", "/api/v1/namespaces/" + name_space_ + "/serviceaccounts/keeper/token", R"({"spec": {"expirationSeconds": 3600}})");
  token_ = *find_string(token, "status.token");
}

KubernetesOptions ClusterWorld::options() const {
  KubernetesOptions out;
  out.pool = name_space_;
  out.name_space = name_space_;
  out.runner_object = object_;
  out.runner_image = "simulated/mayfly:1";
  out.node_selector = {{"mayfly.dev/node", "played-by-the-test"}};   // which no node of the cluster has
  out.api_qps = 500;
  out.api_burst = 500;
  return out;
}

kubernetes::Cluster ClusterWorld::keeper() const {
  auto& administrator = admin_.cluster();
  return {.server = administrator.server, .tls = {.ca = administrator.tls.ca}, .token = token_};
}

std::vector<std::string> ClusterWorld::pods_of(AttemptId attempt) {
  std::vector<std::string> out;
  auto pods = admin_.must("GET", pods_path() + "?labelSelector=" + kubernetes::attempt_label + "%3D" + attempt.str());
  for (auto& pod : pods.at("items").get_array()) out.push_back(*find_string(pod, "metadata.name"));
  return out;
}

std::string ClusterWorld::objects_of(AttemptId attempt) {
  std::string out;
  auto jobs = admin_.must("GET", jobs_path() + "?labelSelector=" + kubernetes::attempt_label + "%3D" + attempt.str());
  for (auto& job : jobs.at("items").get_array()) out += "Job/" + *find_string(job, "metadata.name") + " ";
  for (auto& pod : pods_of(attempt)) out += "Pod/" + pod + " ";
  return out;
}

bool ClusterWorld::is_settled(AttemptId attempt) { return node_->has_settled(attempt); }

RunnerSpec ClusterWorld::make_spec(const std::string& image) {
  std::array<std::uint8_t, 10> random;
  if (getrandom(random.data(), random.size(), 0) != ssize_t(random.size())) throw std::runtime_error("no randomness");
  RunnerSpec spec;
  spec.attempt = AttemptId{uuid_v7(now(), random)};
  spec.fence = Fence{7};
  spec.boot_token = "t0ken";
  spec.api_url = "http://gateway.mayfly.svc:8080";
  spec.image = image;
  spec.memory_bytes = std::int64_t(1) << 30;
  spec.disk_bytes = std::int64_t(1) << 30;
  spec.timeout = std::chrono::minutes(60);
  return spec;
}

}  // namespace mayfly::testing_support
