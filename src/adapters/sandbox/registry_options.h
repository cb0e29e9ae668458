#pragma once
// How a pool on this machine gets images by registry name.

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace mayfly {

struct RegistryOptions {
  /// Besides registries with a public name: hosts, "registry.corp:5000"; "http://127.0.0.1:5000" is asked without TLS. A pipeline can
  /// name no address and no name of this machine's that is not here: runners ask with the machine's own network.
  std::vector<std::string> registries = {};
  std::map<std::string, std::string> mirrors = {};   // asked first: "docker.io" → "http://127.0.0.1:5000"
  std::string auth_file = {};                        // credentials, as `docker login` writes them; read by runners only
  std::int64_t store_bytes = std::int64_t(20) << 30; // of unpacked images kept
  bool operator==(const RegistryOptions&) const = default;
};

}  // namespace mayfly
