#include "app/docker_config.h"

#include "adapters/docker/engine.h"
#include "domain/pipeline/suggest.h"
#include "domain/pipeline/yaml.h"

namespace mayfly {
namespace {

using Wrong = std::function<void(const YamlNode& at, std::string message, std::string hint)>;

constexpr std::string_view known_keys[] = {"socket", "default_image", "network", "runtimes"};

void read_runtimes(DockerConfig& config, const YamlNode& map, const Wrong& wrong) {
  if (!map.is_map()) return wrong(map, "docker.runtimes: a map from isolations to the engine's runtimes, not " + std::string(map.describe()), "{gvisor: runsc}");
  for (auto& [key, value] : map.entries) {
    auto isolation = isolation_from(key->text);
    if (!isolation || isolation == Isolation::sandbox) wrong(*key, "docker.runtimes: runc, gvisor or kata, not '" + std::string(key->text) + "'", {});
    else if (!value->is_scalar() || value->text.empty()) wrong(*value, "docker.runtimes: the name of a runtime, not " + std::string(value->describe()), {});
    else config.runtimes[*isolation] = value->text;
  }
}

}  // namespace

std::vector<Isolation> DockerConfig::isolations() const {
  std::vector<Isolation> out;
  for (auto& [isolation, runtime] : runtimes) out.push_back(isolation);
  return out;
}

DockerConfig read_docker(const YamlNode& map, const Wrong& wrong) {
  DockerConfig config;
  if (map.is_scalar() && map.is_null()) return config;
  if (!map.is_map()) return wrong(map, "docker: a map, not " + std::string(map.describe()), "docker: {socket: unix:///var/run/docker.sock}"), config;
  for (auto& [key, value] : map.entries) {
    if (key->text == "runtimes") {
      read_runtimes(config, *value, wrong);
    } else if (!value->is_scalar()) {
      wrong(*value, "docker." + std::string(key->text) + ": one value, not " + std::string(value->describe()), {});
    } else if (key->text == "socket") {
      auto path = docker::socket_path(value->text);
      if (path) config.socket = *path;
      else wrong(*value, "docker.socket: " + path.error().message, path.error().hint);
    } else if (key->text == "default_image") {
      auto name = docker::parse_image_name(value->text);
      if (name) config.default_image = value->text;
      else wrong(*value, "docker.default_image: " + name.error().message, name.error().hint);
    } else if (key->text == "network") {
      config.network = value->text;
    } else {
      wrong(*key, "'" + std::string(key->text) + "' is no key of docker", suggestion(key->text, known_keys));
    }
  }
  return config;
}

}  // namespace mayfly
