// The executors whose runners are processes of this machine, with a stand-in for mayfly-runner: a shell script that behaves as its api_url
// says. The one of Docker with an engine that is gone: the law holds all the same.
#include <sys/random.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "adapters/docker/docker_executor.h"
#include "adapters/host_runners/runner_files.h"
#include "adapters/sandbox/sandbox_executor.h"
#include "adapters/sandbox/tools.h"
#include "contract/executor_contract.h"
#include "support/temp_dir.h"

namespace mayfly::contract {
namespace {

using namespace std::chrono_literals;

constexpr const char* stand_in_runner = R"(#!/bin/sh
dir=$2
token=$(cat)
[ -n "$token" ] || exit 1
end() {
  printf '{"reason": "%s", "detail": "%s"}' "$1" "$2" > "$dir/ended.partial"
  mv "$dir/ended.partial" "$dir/ended.json"
}
case $(cat "$dir/runner.json") in
  *'"behave:ends"'*) end oom 'as it was told'; : > "$dir/settled" ;;
  *'"behave:waits"'*)
    trap 'end canceled "by a signal"; kill $!; exit 0' TERM
    sleep 1000 &
    : > "$dir/settled"
    wait ;;
  *) trap '' TERM; sleep 1000 & : > "$dir/settled"; while :; do wait; done ;;
esac
)";

class SandboxWorld : public ExecutorWorld {
 public:
  SandboxWorld() : offload_(make_thread_offload(2)) {
    auto program = data_.file("stand-in-runner");
    std::ofstream(program) << stand_in_runner;
    std::filesystem::permissions(program, std::filesystem::perms::owner_all);
  }

  std::unique_ptr<Executor> make_executor(Loop loop) override {
    return make_sandbox_executor(loop, *offload_, {data_.path(), data_.file("stand-in-runner"), {}, {}, 0});
  }

  RunnerSpec make_spec(Behaviour behaviour) override {
    std::array<std::uint8_t, 10> random;
    EXPECT_EQ(getrandom(random.data(), random.size(), 0), ssize_t(random.size()));
    RunnerSpec spec;
    spec.attempt = AttemptId{uuid_v7(std::chrono::time_point_cast<Duration>(std::chrono::system_clock::now()), random)};
    spec.boot_token = "t0ken";
    spec.image = "host";
    spec.api_url = behaviour == Behaviour::ends ? "behave:ends" : behaviour == Behaviour::waits ? "behave:waits" : "behave:ignores";
    return spec;
  }

  bool is_settled(AttemptId attempt) override { return std::filesystem::exists(directory(attempt) + "/settled"); }

  void destroy_runner(AttemptId attempt) override {
    auto process = runner_process_from_json(*read_small_file(directory(attempt) + "/process.json"));
    ASSERT_TRUE(process);
    kill(process->pid, SIGKILL);
  }

  std::string traces_of(AttemptId attempt) override {
    std::ostringstream traces;
    if (std::filesystem::exists(directory(attempt))) traces << "directory ";
    for (auto& entry : std::filesystem::directory_iterator("/sys/fs/cgroup"))
      if (auto group = entry.path() / "mayfly" / attempt.str(); std::filesystem::exists(group)) traces << group << " ";
    std::ifstream mounts("/proc/self/mountinfo");
    for (std::string line; std::getline(mounts, line);)
      if (line.find(attempt.str()) != std::string::npos) traces << "mount " << line << " ";
    for (auto& entry : std::filesystem::directory_iterator("/proc")) {
      auto command = read_whole(entry.path() / "cmdline");
      if (command.find(attempt.str()) != std::string::npos) traces << "process " << entry.path() << " ";
    }
    return traces.str();
  }

 protected:
  std::string directory(AttemptId attempt) const { return data_.file("runners/" + attempt.str()); }

  TempDir data_;
  std::unique_ptr<Offload> offload_;
};

class DockerWorld final : public SandboxWorld {
 public:
  std::unique_ptr<Executor> make_executor(Loop loop) override {
    DockerExecutorOptions options{.data_dir = data_.path(), .pool = "contract", .runner_program = data_.file("stand-in-runner"), .socket = data_.file("no-engine.sock")};
    options.runtimes = {{"sandbox", ""}};
    return make_docker_executor(loop, *offload_, std::move(options));
  }
};

INSTANTIATE_TEST_SUITE_P(Sandbox, ExecutorContract,
                         testing::Values(ExecutorFactory{"Sandbox", [] { return std::make_unique<SandboxWorld>(); }, 10s},
                                         ExecutorFactory{"Docker", [] { return std::make_unique<DockerWorld>(); }, 10s}),
                         [](auto& info) { return info.param.name; });

}  // namespace
}  // namespace mayfly::contract
