#include "adapters/docker/docker_executor.h"

#include <algorithm>
#include <filesystem>
#include <set>

#include "adapters/host_runners/host_runners.h"
#include "async/scope.h"
#include "async/signal.h"
#include "async/system_timer.h"
#include "base/log.h"

namespace mayfly {
namespace {

constexpr const char* pool_label = "mayfly.dev/pool";
constexpr const char* home_label = "mayfly.dev/home";
constexpr const char* attempt_label = "mayfly.dev/attempt";

Time now() { return std::chrono::time_point_cast<Duration>(std::chrono::system_clock::now()); }

class DockerExecutor final : public Executor {
 public:
  DockerExecutor(Loop loop, Offload& offload, DockerExecutorOptions options)
      : loop_(loop), options_(std::move(options)), home_(std::filesystem::absolute(options_.data_dir).lexically_normal()), engine_(loop, options_.socket),
        timers_(make_system_timers(loop)), runners_(make_host_runners(loop, offload, runners_options())) {}

  Task<void> run() override {
    Scope both(loop_);
    both.spawn(follow_engine());
    both.spawn(remove_leftovers_forever());
    co_await both.join();
  }

  Task<Result<void>> start(RunnerSpec spec) override {
    if (!options_.runtimes.contains(spec.isolation))
      co_return fail(Errc::unsupported, "the pool '" + options_.pool + "' has no runtime of its Docker engine for the isolation '" + spec.isolation + "'", "name one in the pool's docker.runtimes");
    if (spec.isolation == "gvisor" && !spec.services.empty())
      co_return fail(Errc::unsupported, "under gVisor a Docker engine cannot give a job and its services one network", "run the job with isolation runc, or in a pool of sandboxes or of Kubernetes");
    co_return co_await runners_->start(std::move(spec));
  }

  Task<Result<void>> stop(AttemptId attempt, Duration grace) override { return runners_->stop(attempt, grace); }
  Task<Result<std::vector<RunnerStatus>>> list() override { return runners_->list(); }
  void on_end(std::function<void(RunnerStatus)> callback) override { runners_->on_end(std::move(callback)); }

  /// Its containers are mostly gone by then. What cannot be removed now is a leftover later.
  Task<Result<void>> forget(AttemptId attempt) override {
    auto removed = co_await remove_of(attempt);
    if (!removed) log_warn("containers of an attempt may be left", {{"attempt", attempt.str()}, {"error", removed.error().message}});
    co_return co_await runners_->forget(attempt);
  }

 private:
  HostRunnersOptions runners_options() const {
    HostRunnersOptions runners{options_.data_dir, options_.runner_program, 0, options_.log_files, {}};
    runners.describe = [options = options_, home = home_](RunnerSpec spec) {
      DockerPlace place{options.socket, options.pool, home, options.default_image, options.network, options.runtimes.at(spec.isolation)};
      RunnerFile file{.spec = std::move(spec), .cache_dir = options.data_dir + "/sandbox", .image_directories = {}, .allowed_networks = options.allowed_networks};
      file.log_files = options.log_files;
      file.docker = std::move(place);
      return file;
    };
    return runners;
  }

  std::vector<std::string> our_labels() const { return {std::string(pool_label) + "=" + options_.pool, std::string(home_label) + "=" + home_}; }

  Task<Result<void>> remove_of(AttemptId attempt) {
    auto labels = our_labels();
    labels.push_back(std::string(attempt_label) + "=" + attempt.str());
    CO_TRY_ASSIGN(auto all, co_await engine_.list(std::move(labels)));
    for (auto& container : all) CO_TRY(co_await engine_.remove(container.id));
    co_return Result<void>{};
  }

  /// An event of ours may be that of a container nobody looks after any more; an engine that comes back may bring many.
  Task<void> follow_engine() {
    bool said = false;
    for (;;) {
      auto following = [&] {
        said = false;
        look_.notify();
      };
      auto ended = co_await engine_.follow(our_labels().front(), following, [this](docker::Event event) {
        if (event.action == "create" || event.action == "start" || event.action == "die") look_.notify();
      });
      if (!said) log_warn("the Docker engine's events have ended", {{"pool", options_.pool}, {"why", ended ? "the engine ended them" : ended.error().message}});
      said = true;
      auto timer = timers_->make_timer();
      co_await timer->wait_until(now() + engine_retry);
    }
  }

  Task<void> remove_leftovers_forever() {
    for (;;) {
      auto looked = co_await remove_leftovers();
      if (!looked) log_info("the Docker engine was not looked through for leftovers", {{"pool", options_.pool}, {"why", looked.error().message}});
      auto timer = timers_->make_timer();
      co_await timer->wait_until(now() + shortest_look_interval);
      co_await look_.wait(*timers_, now() + leftovers_interval);
    }
  }

  /// Containers first: what is seen there and has no runner after that has lost it.
  Task<Result<void>> remove_leftovers() {
    CO_TRY_ASSIGN(auto containers, co_await engine_.list(our_labels()));
    CO_TRY_ASSIGN(auto runners, co_await runners_->list());
    std::set<std::string> running;
    for (auto& runner : runners)
      if (runner.running) running.insert(runner.attempt.str());
    for (auto& container : containers) {
      auto attempt = container.labels.find(attempt_label);
      if (attempt == container.labels.end() || running.contains(attempt->second)) continue;
      log_warn("a container without a runner is removed", {{"pool", options_.pool}, {"attempt", attempt->second}});
      CO_TRY(co_await engine_.remove(container.id));
    }
    co_return Result<void>{};
  }

  static constexpr Duration shortest_look_interval = std::chrono::seconds(1);

  Loop loop_;
  const DockerExecutorOptions options_;
  const std::string home_;
  docker::Engine engine_;
  std::unique_ptr<TimerSource> timers_;
  std::unique_ptr<Executor> runners_;
  Signal look_;
};

}  // namespace

std::unique_ptr<Executor> make_docker_executor(Loop loop, Offload& offload, DockerExecutorOptions options) {
  return std::make_unique<DockerExecutor>(std::move(loop), offload, std::move(options));
}

}  // namespace mayfly
