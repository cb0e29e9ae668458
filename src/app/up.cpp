#include "app/up.h"

#include <unistd.h>

#include <cstdio>

#include "adapters/docker/engine.h"
#include "app/process.h"
#include "app/server.h"
#include "base/log.h"

namespace mayfly {

namespace {

Result<std::optional<DockerConfig>> docker_of(const UpOptions& options) {
  if (options.docker.empty()) return std::nullopt;
  DockerConfig docker;
  TRY_ASSIGN(docker.socket, docker::socket_path(options.docker));
  docker.default_image = options.docker_image;
  if (!options.docker_gvisor.empty()) docker.runtimes[Isolation::gvisor] = options.docker_gvisor;
  return docker;
}

RegistryOptions registries_of(const UpOptions& options) {
  RegistryOptions out{.registries = options.registries, .mirrors = {}, .auth_file = options.registry_auth};
  for (auto& mirror : options.registry_mirrors)
    if (auto equals = mirror.find('='); equals != mirror.npos) out.mirrors[mirror.substr(0, equals)] = mirror.substr(equals + 1);
  return out;
}

}  // namespace

int run_up(UpOptions options) {
  prepare_process(options.log_level);
  auto docker = docker_of(options);
  if (!docker) {
    complain(docker.error());
    return 1;
  }
  boost::asio::io_context loop(1);
  auto opened = EmbeddedServer::open(loop.get_executor(), {options.data_dir, options.listen, options.slots, options.image_directories, options.allowed_networks,
                                                            registries_of(options), options.user_namespaces,
                                                            options.isolation_floor, options.fork_isolation_floor, *std::move(docker)});
  if (!opened) {
    complain(opened.error());
    return 1;
  }
  auto& server = **opened;
  if (isatty(STDERR_FILENO)) std::fprintf(stderr, "Mayfly is at %s (data in %s)\n", server.base_url().c_str(), options.data_dir.c_str());
  log_info("ready", {{"url", server.base_url()}, {"data", options.data_dir}});
  run_until_stopped(loop, server.run(), [&] { server.stop(); });
  return 0;
}

}  // namespace mayfly
