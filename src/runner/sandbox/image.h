#pragma once
// From a pipeline's `image` to a directory with that image's root. OCI images are unpacked once per machine, by digest, and
// shared read-only by all jobs (each writes over it on its own disk).

#include <string>
#include <vector>

#include "base/result.h"
#include "adapters/sandbox/registry_options.h"
#include "runner/sandbox/image_store.h"

namespace mayfly {

inline constexpr std::size_t max_image_index_bytes = 4 << 20;  // of an OCI layout's index.json

struct ImageRef {
  enum class Kind { host, directory, oci_layout, oci_archive, registry };
  Kind kind = Kind::host;
  std::string path;  // real, absolute; of registry: the name as it was written
  std::string tag;   // empty: the only one
};

/// Reads "", "host", "oci:PATH[:TAG]" (a layout's directory or an archive of one), "/PATH" or a registry's name. PATH must lie below one of `allowed`, which
/// the operator names: a job could otherwise look at any directory. Errc::unsupported: another form, or not allowed.
/// Errc::not_found: allowed, but there is nothing.
Result<ImageRef> resolve_image(const std::string& image, const std::vector<std::string>& allowed);

/// The image, for as long as the answer is held. Blocks while it is unpacked, by us or by another process.
/// Errc::not_found: no such tag. Errc::corrupt: what is stored is not what its digests say. Else as ImageStore::get.
Result<Image> open_image(const ImageRef& image, ImageStore& store, const RegistryOptions& registries = {}, const std::function<void(std::string)>& say = {});

}  // namespace mayfly
