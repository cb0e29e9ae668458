#pragma once
// Names of images in registries: "debian", "ghcr.io/acme/build:1.2", "localhost:5000/tool@sha256:…".

#include <string>
#include <string_view>

#include "base/result.h"

namespace mayfly::docker {

inline constexpr std::size_t max_image_name_bytes = 512;

struct ImageName {
  std::string repository;   // with its registry, where it names one
  std::string tag;          // "latest" where it names none, or a digest: "sha256:…"
  bool operator==(const ImageName&) const = default;
};

/// Errc::invalid: no such name can be.
Result<ImageName> parse_image_name(std::string_view text);

/// "debian:latest", "tool@sha256:…"
std::string to_string(const ImageName& name);

}  // namespace mayfly::docker
