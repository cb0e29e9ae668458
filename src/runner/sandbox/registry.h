#pragma once
// Images by registry name, fetched by skopeo: the tag is traded for a digest once, the digest is what is fetched, kept and told.

#include <functional>
#include <stop_token>
#include <string>
#include <string_view>

#include "adapters/sandbox/registry_options.h"
#include "base/time.h"
#include "runner/sandbox/image_store.h"

namespace mayfly {

inline constexpr Duration tag_memory = std::chrono::seconds(60);   // for so long a tag means on this machine what it meant
inline constexpr int registry_tries = 4;
inline constexpr Duration first_registry_pause = std::chrono::seconds(1);   // doubled after each try
inline constexpr std::int64_t max_fetched_bytes = std::int64_t(16) << 30;   // of one image, as it travels
inline constexpr std::size_t max_registry_auth_bytes = 1 << 20;

struct RegistryImage {
  std::string host;        // "docker.io", "127.0.0.1:5000"
  std::string repository;  // "library/debian"
  std::string tag;         // empty if only a digest was given; "latest" if nothing was
  std::string digest;      // "sha256:…", or empty
  bool operator==(const RegistryImage&) const = default;
};

/// "debian:12", "registry.example/team/img@sha256:…". Errc::invalid: no such name.
Result<RegistryImage> parse_registry_image(std::string_view text);

/// Whether a pipeline may name this host.
bool may_ask(const std::string& host, const RegistryOptions& options);

/// For skopeo: which registries are mirrored, and which are asked without TLS.
std::string registries_conf(const RegistryOptions& options);

/// What skopeo says went wrong, as an error of ours. Errc::not_found: no such image. Errc::forbidden: no access (or, as registries put
/// it, no such image). Errc::unavailable: the registry is away. Errc::rate_limited.
Error registry_error(const std::string& image, const std::string& said);

struct Pull {
  const RegistryOptions& options;
  ImageStore& store;
  std::string directory;                      // for files on their way and remembered tags
  std::function<void(std::string)> say = {};  // from the calling thread
  std::stop_token stop = {};
  Duration pause = first_registry_pause;
};

/// Blocks. Retries what may pass. Errc::forbidden also for a host that may not be asked.
Result<Image> pull_image(const RegistryImage& image, const Pull& pull);

}  // namespace mayfly
