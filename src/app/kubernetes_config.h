#pragma once
// The section `kubernetes` of a pool, as it stands in a configuration file.

#include <functional>
#include <string>

#include "adapters/kubernetes/options.h"
#include "domain/pipeline/yaml.h"

namespace mayfly {

/// Told of each mistake, and where it stands.
using Complain = std::function<void(const YamlNode& at, std::string message, std::string hint)>;

KubernetesOptions read_kubernetes(const YamlNode& section, const Complain& complain);

}  // namespace mayfly
