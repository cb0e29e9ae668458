#include "app/serve.h"

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "app/config.h"
#include "app/node.h"
#include "app/process.h"
#include "base/digest.h"
#include "base/log.h"

namespace mayfly {
namespace {

std::optional<std::string> variable(const std::string& name) {
  auto* value = std::getenv(name.c_str());
  return value ? std::optional<std::string>(value) : std::nullopt;
}

Result<NodeConfig> read_config(const ServeOptions& options) {
  std::ostringstream text;
  if (!options.config_file.empty()) {
    std::ifstream in(options.config_file);
    if (!in) return fail(Errc::not_found, "the configuration " + options.config_file + " cannot be read");
    text << in.rdbuf();
  }
  TRY_ASSIGN(auto config, parse_config(options.config_file, text.str(), variable));
  if (!options.roles.empty()) {
    TRY_ASSIGN(config.roles, parse_roles(options.roles));
  }
  if (!options.listen.empty()) config.listen = options.listen;
  TRY(check_config(config));
  return config;
}

/// No two processes ever have the same.
std::string holder_of(const NodeConfig& config, Entropy& entropy) {
  std::array<std::uint8_t, 6> random;
  entropy.fill(random);
  return config.node + "/" + to_hex(random);
}

Result<std::unique_ptr<Node>> open_node(Loop loop, const NodeConfig& config) {
  TRY_ASSIGN(auto adapters, open_production(loop, config));
  NodeOptions options{.name = holder_of(config, adapters->entropy), .roles = config.roles, .listen = config.listen,
                      .public_url = config.public_url, .runner_url = config.runner_url, .pools = config.pools, .rates = config.rates};
  return Node::open(std::move(adapters), std::move(options));
}

std::string joined(const std::vector<std::string>& words) {
  std::string out;
  for (auto& word : words) out += (out.empty() ? "" : ",") + word;
  return out;
}

}  // namespace

int run_serve(ServeOptions options) {
  auto config = read_config(options);
  if (!config) {
    complain(config.error());
    return cli::used_wrongly;
  }
  if (options.check) {
    std::printf("the configuration can be used: roles %s, listening at %s\n", joined(config->roles).c_str(), config->listen.c_str());
    return 0;
  }
  prepare_process(config->log_level);
  boost::asio::io_context loop(1);
  auto opened = open_node(loop.get_executor(), *config);
  if (!opened) {
    complain(opened.error());
    return 1;
  }
  auto& node = **opened;
  log_info("ready", {{"url", node.base_url()}, {"roles", joined(config->roles)}, {"node", config->node}});
  run_until_stopped(loop, node.run(), [&] { node.stop(); });
  return 0;
}

}  // namespace mayfly
