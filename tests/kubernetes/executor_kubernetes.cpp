// The Kubernetes executor by the law of its port, on a real API server and with no more rights than deploy/kubernetes gives.
#include "adapters/kubernetes/executor.h"
#include "adapters/system/system_clock.h"
#include "adapters/system/system_entropy.h"
#include "contract/executor_contract.h"
#include "kubernetes/cluster_world.h"

namespace mayfly::contract {
namespace {

using namespace std::chrono_literals;
using namespace testing_support;

/// An executor and what must outlive it.
struct OnItsOwn final : Executor {
  OnItsOwn(Loop loop, ClusterWorld& world) : clock(loop), executor(make_kubernetes_executor(loop, clock, entropy, world.options(), world.keeper()).value()) {}
  Task<void> run() override { return executor->run(); }
  Task<Result<void>> start(RunnerSpec spec) override { return executor->start(std::move(spec)); }
  Task<Result<void>> stop(AttemptId attempt, Duration grace) override { return executor->stop(attempt, grace); }
  Task<Result<std::vector<RunnerStatus>>> list() override { return executor->list(); }
  void on_end(std::function<void(RunnerStatus)> callback) override { executor->on_end(std::move(callback)); }
  Task<Result<void>> forget(AttemptId attempt) override { return executor->forget(attempt); }

  SystemClock clock;
  SystemEntropy entropy;
  std::unique_ptr<Executor> executor;
};

class KubernetesWorld final : public ExecutorWorld {
 public:
  explicit KubernetesWorld(RunnerObject object) : world_(object) {}

  std::unique_ptr<Executor> make_executor(Loop loop) override { return std::make_unique<OnItsOwn>(loop, world_); }
  RunnerSpec make_spec(Behaviour behaviour) override {
    return world_.make_spec(behaviour == Behaviour::ends ? ends_image : behaviour == Behaviour::waits ? waits_image : ignores_image);
  }
  bool is_settled(AttemptId attempt) override { return world_.is_settled(attempt); }
  void destroy_runner(AttemptId attempt) override {
    for (auto& pod : world_.pods_of(attempt)) world_.admin().must("DELETE", world_.pods_path() + "/" + pod, R"({"gracePeriodSeconds": 0})");
  }
  /// The cluster collects what belonged to a deleted Job in its own time.
  std::string traces_of(AttemptId attempt) override {
    std::string traces;
    for (int turn = 0; turn < 100 && !(traces = world_.objects_of(attempt)).empty(); ++turn) std::this_thread::sleep_for(100ms);
    return traces;
  }

 private:
  ClusterWorld world_;
};

std::vector<ExecutorFactory> factories() {
  if (kubeconfig_of_tests().empty()) return {};
  return {{"KubernetesJobs", [] { return std::make_unique<KubernetesWorld>(RunnerObject::job); }, 20s},
          {"KubernetesPods", [] { return std::make_unique<KubernetesWorld>(RunnerObject::pod); }, 20s}};
}

INSTANTIATE_TEST_SUITE_P(OnACluster, ExecutorContract, testing::ValuesIn(factories()), [](auto& info) { return info.param.name; });

TEST(KubernetesContract, NeedsAnApiServer) {
  if (kubeconfig_of_tests().empty()) GTEST_SKIP() << "no API server: scripts/servers up kubernetes, and eval \"$(scripts/servers env)\"";
}

}  // namespace
}  // namespace mayfly::contract
