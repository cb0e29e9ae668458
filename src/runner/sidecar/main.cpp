// mayfly-runner: beside the sandbox of one attempt. See ../README.md.

#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <string_view>

#include "adapters/host_runners/runner_files.h"
#include "adapters/system/system_clock.h"
#include "adapters/system/system_entropy.h"
#include "base/log.h"
#include "runner/docker/launcher.h"
#include "runner/pod/runner.h"
#include "runner/sidecar/sidecar.h"

namespace {

using namespace mayfly;
namespace asio = boost::asio;

constexpr std::size_t max_boot_token_bytes = 4 << 10;

std::string read_boot_token() {
  std::string token;
  char buffer[512];
  for (ssize_t n; (n = ::read(0, buffer, sizeof buffer)) > 0 && token.size() <= max_boot_token_bytes;) token.append(buffer, static_cast<std::size_t>(n));
  while (token.ends_with('\n')) token.pop_back();
  return token.size() <= max_boot_token_bytes ? token : std::string();
}

std::string beside_this_program(const char* name) { return std::filesystem::read_symlink("/proc/self/exe").parent_path() / name; }

SidecarSpec spec_of(RunnerFile file, const std::string& directory, std::string boot_token, std::string runner_id) {
  SidecarSpec spec;
  auto& runner = file.spec;
  spec.sandbox = {.attempt = runner.attempt, .fence = runner.fence, .image = runner.image, .image_directories = std::move(file.image_directories), .network = runner.network,
                  .allowed_networks = std::move(file.allowed_networks), .cpu_milli = runner.cpu_milli, .memory_bytes = runner.memory_bytes, .disk_bytes = runner.disk_bytes, .pids = runner.pids,
                  .isolation = runner.isolation, .runsc = std::move(file.runsc), .services = runner.services,
                  .attempt_dir = directory, .cache_dir = std::move(file.cache_dir), .registries = std::move(file.registries), .user_namespaces = file.user_namespaces, .init_path = beside_this_program("mayfly-init")};
  runner.boot_token = std::move(boot_token);
  spec.runner = std::move(runner);
  spec.runner_id = std::move(runner_id);
  spec.log_files = std::move(file.log_files);
  return spec;
}

Task<void> cancel_on(asio::signal_set& signals, Sidecar& sidecar) {
  for (;;) {
    boost::system::error_code ec;
    co_await signals.async_wait(asio::redirect_error(asio::use_awaitable, ec));
    co_await throw_if_canceled();
    if (!ec) sidecar.cancel(default_cancel_grace);
  }
}

Task<void> run_sidecar(asio::signal_set& signals, Sidecar& sidecar, SidecarEnd& end) {
  Scope scope(signals.get_executor());
  scope.spawn(cancel_on(signals, sidecar));
  end = co_await sidecar.run();
  scope.cancel();
  co_await scope.join();
}

LaunchSandbox launch_of(std::optional<DockerPlace> place) {
  if (!place) return launch_sandbox;
  return [place = *std::move(place)](Loop loop, SandboxSpec spec) { return launch_in_docker(std::move(loop), std::move(spec), place); };
}

SidecarEnd run(const std::string& directory, RunnerFile file) {
  auto boot_token = read_boot_token();
  if (boot_token.empty()) return {Reason::runner_lost, "no boot token came on standard input"};
  asio::io_context io(1);
  Loop loop = io.get_executor();
  SystemClock clock(loop);
  SystemEntropy entropy;
  auto offload = make_thread_offload(1);
  http::Client client(loop);
  RunnerApi api(client, clock, entropy, file.spec.api_url, file.spec.attempt);
  auto runner_id = make_id<Id<struct RunnerTag>>(clock, entropy).str();
  auto launch = launch_of(std::move(file.docker));
  Sidecar sidecar(loop, clock, *offload, api, std::move(launch), spec_of(std::move(file), directory, std::move(boot_token), std::move(runner_id)));
  asio::signal_set signals(io, SIGTERM, SIGINT);
  SidecarEnd end;
  Scope scope(loop);
  scope.spawn(run_sidecar(signals, sidecar, end));
  io.run();
  return end;
}

}  // namespace

int main(int argc, char** argv) {
  // What is checked out looks like anybody's clone. The attempt's directory itself is closed to others.
  ::umask(022);
  if (argc >= 2 && std::string_view(argv[1]) == "--pod") return run_in_pod(argc, argv);
  if (argc != 3 || std::string_view(argv[1]) != "--dir") {
    std::fputs("mayfly-runner: started by Mayfly with --dir DIR and a boot token on standard input, or with --pod in a pod\n", stderr);
    return 2;
  }
  ::prctl(PR_SET_DUMPABLE, 0);
  std::signal(SIGPIPE, SIG_IGN);
  std::string directory = argv[2];
  auto text = read_small_file(directory + "/" + runner_file_name);
  auto file = text ? runner_file_from_json(*text) : std::unexpected(text.error());
  if (!file) {
    log_error("cannot read what to run", {{"error", file.error().message}});
    return 1;
  }
  auto end = run(directory, *std::move(file));
  auto written = write_file_atomically(directory + "/" + ended_file_name, to_json(EndedFile{end.reason, end.detail}));
  if (written) return 0;
  log_error("cannot write how it ended", {{"error", written.error().message}});
  return 1;
}
