// What a job's start in a container costs beside the bare start of the same thing: create, attach and start of a container that runs
// `echo`, by the same client on the same engine, one after the other. From the first call to the first byte of output.
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "adapters/docker/engine.h"
#include "runner/control/messages.h"
#include "runner/docker/launcher.h"

namespace mayfly {
namespace {

using Steady = std::chrono::steady_clock;

constexpr const char* image = "local/debian:1";
constexpr int rounds = 15;

double ms_since(Steady::time_point start) { return std::chrono::duration<double, std::milli>(Steady::now() - start).count(); }

template <class T>
T must(Result<T> result) {
  if (result) return *std::move(result);
  std::fprintf(stderr, "docker_bench: %s\n", result.error().message.c_str());
  std::exit(1);
}
void must(Result<void> result) {
  if (!result) must(Result<int>(std::unexpected(result.error())));
}

template <class T>
T wait_for(boost::asio::io_context& loop, Task<T> task) {
  std::optional<T> value;
  auto keep = [](Task<T> inner, std::optional<T>& out) -> Task<void> { out.emplace(co_await std::move(inner)); };
  boost::asio::co_spawn(loop, keep(std::move(task), value), [&loop](std::exception_ptr) { loop.stop(); });
  loop.restart();
  loop.run();
  return *std::move(value);
}

AttemptId attempt_number(std::uint32_t number) {
  AttemptId id;
  auto unique = std::uint32_t(getpid());
  std::copy_n(reinterpret_cast<const std::uint8_t*>(&unique), 4, id.value.bytes.begin() + 8);
  std::copy_n(reinterpret_cast<const std::uint8_t*>(&number), 4, id.value.bytes.begin() + 12);
  return id;
}

struct Bench {
  std::string socket;
  std::string data;
  std::string init;
  std::uint32_t next = 1;

  double bare(const std::string& runtime) {
    boost::asio::io_context loop;
    docker::Engine engine(loop.get_executor(), socket);
    must(wait_for(loop, engine.image(image)));  // as a job's start asks, too
    docker::ContainerSpec spec{.name = "mayfly-bench-" + std::to_string(getpid()) + "-" + std::to_string(next++), .image = image, .labels = {{"mayfly.dev/bench", "true"}},
                               .entrypoint = {"/bin/echo", "x"}, .runtime = runtime, .standard_input = true};
    auto start = Steady::now();
    auto first_byte = [](docker::Engine& e, docker::ContainerSpec s) -> Task<Result<void>> {
      CO_TRY_ASSIGN(auto id, co_await e.create(s));
      CO_TRY_ASSIGN(auto tunnel, co_await e.attach(id));
      CO_TRY(co_await e.start(id));
      char bytes[64];
      CO_TRY(co_await tunnel->read(bytes));
      co_return Result<void>{};
    };
    must(wait_for(loop, first_byte(engine, spec)));
    auto took = ms_since(start);
    must(wait_for(loop, engine.remove(spec.name)));
    return took;
  }

  double ours(const std::string& runtime) {
    SandboxSpec spec;
    spec.attempt = attempt_number(next++);
    spec.image = image;
    spec.network = false;
    spec.memory_bytes = std::int64_t(1) << 30;
    spec.pids = 4096;
    spec.isolation = runtime == "runsc" ? "gvisor" : "runc";
    spec.attempt_dir = data + "/runners/" + spec.attempt.str();
    spec.cache_dir = data + "/sandbox";
    spec.init_path = init;
    std::filesystem::create_directories(spec.attempt_dir);
    int control[2];
    auto log_path = spec.attempt_dir + "/log";
    int log = open(log_path.c_str(), O_CREAT | O_RDWR | O_APPEND | O_CLOEXEC, 0600);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, control) != 0 || log < 0) std::exit(1);
    spec.control_fd = control[1];
    spec.log_fd = log;
    boost::asio::io_context loop;
    auto start = Steady::now();
    auto sandbox = must(wait_for(loop, launch_in_docker(loop.get_executor(), spec, {.socket = socket, .pool = "bench", .home = data, .runtime = runtime})));
    close(control[1]);
    auto line = to_line(ToInit(InitJob{.steps = {{.name = "echo", .run = "echo x", .shell = "sh"}}}));
    if (write(control[0], line.data(), line.size()) < 0) std::exit(1);
    while (lseek(log, 0, SEEK_END) == 0) usleep(200);
    auto took = ms_since(start);
    must(wait_for(loop, sandbox->wait()));
    sandbox.reset();
    close(control[0]);
    close(log);
    return took;
  }

  void measure(const std::string& runtime, const std::string& name) {
    std::vector<double> bare_ms, our_ms;
    for (int i = 0; i < rounds; ++i) {
      bare_ms.push_back(bare(runtime));
      our_ms.push_back(ours(runtime));
    }
    std::ranges::sort(bare_ms);
    std::ranges::sort(our_ms);
    auto say = [&](const char* part, std::size_t at) {
      std::printf("{\"what\": \"first byte in a container, %s %s\", \"value\": %.1f, \"unit\": \"ms\", \"floor\": %.1f, \"note\": \"floor: bare create, attach, start of echo\"}\n", name.c_str(), part, our_ms[at], bare_ms[at]);
    };
    say("p50", our_ms.size() / 2);
    say("worst", our_ms.size() - 1);
    std::fflush(stdout);
  }
};

int run() {
  auto* where = std::getenv("MAYFLY_TEST_DOCKER");
  if (!where) {
    std::puts("docker_bench: no engine: scripts/servers up docker, then eval \"$(scripts/servers env)\"");
    return 0;
  }
  char data[] = "/var/tmp/mayfly-docker-bench-XXXXXX";
  if (!mkdtemp(data)) return 1;
  Bench bench{must(docker::socket_path(where)), data, MAYFLY_INIT_PATH};
  boost::asio::io_context loop;
  docker::Engine engine(loop.get_executor(), bench.socket);
  auto facts = must(wait_for(loop, engine.facts()));
  bench.measure("runc", "Docker with runc");
  if (std::ranges::find(facts.runtimes, "runsc") != facts.runtimes.end()) bench.measure("runsc", "Docker with gVisor");
  std::filesystem::remove_all(data);
  return 0;
}

}  // namespace
}  // namespace mayfly

int main() { return mayfly::run(); }
