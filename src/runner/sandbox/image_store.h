#pragma once
// Unpacked images of this machine, shared read-only by all jobs. A key (a digest) is unpacked by one process while others wait;
// half an image is never seen. What nobody uses goes, longest unused first, when the store is larger than it may be.
//
// Files, below cache_dir/images: KEY/ the root, KEY.json its configuration, use-KEY locked shared by everybody who uses it and
// as old as its last use, lock-KEY locked by who makes it, partial-KEY/ while it is made.
//
// An image's layers are hostile. They are unpacked by umoci as a uid of their own that owns nothing else: no device is made, no
// file belongs to root, nothing lands outside. Sizes are watched while they grow.

#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "adapters/sandbox/unique_fd.h"
#include "base/result.h"

namespace mayfly {

inline constexpr std::int64_t default_image_store_bytes = std::int64_t(20) << 30;
inline constexpr std::int64_t max_image_bytes = std::int64_t(16) << 30;       // of one, unpacked
inline constexpr std::int64_t max_image_files = 2'000'000;                    // of one
inline constexpr std::int64_t image_disk_reserve_bytes = std::int64_t(1) << 30;  // of the host's disk that no image takes
inline constexpr std::size_t max_image_config_bytes = 1 << 20;
inline constexpr std::size_t max_image_env_bytes = 64 << 10;                  // of its environment; more is left out
inline constexpr std::size_t max_image_writable = 256;                        // directories of its users

/// What an image says of the programs in it.
struct ImageConfig {
  std::vector<std::string> env = {};          // "KEY=value"
  std::vector<std::string> command = {};      // entrypoint and command
  std::string directory = "/";
  std::vector<std::string> writable = {};     // relative: volumes, the directory, what belongs to users other than root
  bool operator==(const ImageConfig&) const = default;
};

std::string to_json(const ImageConfig&);
Result<ImageConfig> image_config_from_json(std::string_view);
/// From an OCI image configuration. What is malformed in it is left out: an image is not to be trusted with more.
ImageConfig image_config_of(std::string_view oci);

/// An image that stays while this is held.
struct Image {
  std::string root;      // empty: the host
  ImageConfig config = {};
  UniqueFd in_use = {};
};

class ImageStore final {
 public:
  struct Options {
    std::int64_t limit_bytes = default_image_store_bytes;
    std::int64_t image_bytes = max_image_bytes;
    std::stop_token stop = {};
  };
  /// Brings an image as the OCI layout `layout`, under the tag "image".
  using Fetch = std::function<Result<void>(const std::string& layout)>;

  ImageStore(std::string cache_dir, Options options) : images_(std::move(cache_dir) + "/images"), options_(std::move(options)) {}

  /// The image of that key, made with `fetch` if it is not there. Blocks. Errc::canceled: stopped. Errc::too_large: over a limit.
  /// Errc::unavailable: the disk is full, among others. Or what `fetch` said.
  Result<Image> get(const std::string& key, const Fetch& fetch);
  /// Only if it is there.
  Result<Image> find(const std::string& key);
  /// How large they are together, as far as they are whole.
  std::int64_t bytes() const;
  const std::string& directory() const { return images_; }
  std::stop_token stop() const { return options_.stop; }

 private:
  Result<UniqueFd> lock(const std::string& key);
  Result<void> make(const std::string& key, const Fetch& fetch);
  Result<void> unpack(const std::string& partial);
  void make_room(const std::string& keep);
  bool remove_unused(const std::string& key);

  std::string images_;
  Options options_;
};

}  // namespace mayfly
