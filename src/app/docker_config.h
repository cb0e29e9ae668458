#pragma once
// `pools[].docker`, and --docker of `mayfly up`: a pool whose jobs are containers of an engine on this machine.

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "domain/pipeline/isolation.h"

namespace mayfly {

struct YamlNode;

struct DockerConfig {
  std::string socket = "/var/run/docker.sock";    // a path
  std::string default_image = {};                 // of jobs that name none
  std::string network = {};                       // an operator's own, for jobs with network; empty: one of ours, behind rules of ours
  std::map<Isolation, std::string> runtimes = {{Isolation::runc, "runc"}};   // what the pool offers, each as the engine names it
  bool operator==(const DockerConfig&) const = default;

  std::vector<Isolation> isolations() const;
};

/// `wrong` hears of what cannot be, with its place.
DockerConfig read_docker(const YamlNode& map, const std::function<void(const YamlNode& at, std::string message, std::string hint)>& wrong);

}  // namespace mayfly
