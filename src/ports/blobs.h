#pragma once
// Bytes that outlive runners: log chunks, artifacts. Keys are paths like "artifacts/<sha256>"; a key is written once and
// its bytes never change. Errc::unavailable: try again, putting the same twice is harmless. What a view refers to stays
// alive until its task is done.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "async/task.h"
#include "base/digest.h"
#include "base/result.h"
#include "base/time.h"

namespace mayfly {

struct BlobInfo {
  std::string key;
  std::int64_t size = 0;
  Sha256 sha256{};
};

inline constexpr std::size_t max_blob_key = 512;
inline constexpr std::size_t max_blob_key_segment = 200;  // between two '/'
inline constexpr std::int64_t max_blob_read = 64LL << 20;  // bytes of one get() or get_range(); past it: Errc::too_large

/// Errc::invalid unless the key is segments of [A-Za-z0-9._-], none of them "." or "..", with single '/' between them.
Result<void> check_blob_key(std::string_view key);
/// Errc::invalid for what no key begins with.
Result<void> check_blob_prefix(std::string_view prefix);

/// A PUT that whoever has it may send to the store itself: to the URL, with these headers and bytes of the promised length
/// and digest. The store refuses others, and refuses it when the key exists.
struct SignedPut {
  std::string url;
  std::vector<std::pair<std::string, std::string>> headers;
};

/// Bytes on their way in. Nothing is visible until finish(); destroyed before that, nothing remains.
class BlobWriter {
 public:
  virtual ~BlobWriter() = default;
  /// After an error the writer is of no more use. Errc::too_large past the store's limit.
  virtual Task<Result<void>> write(std::string_view bytes) = 0;
  /// Durable and visible when it returns. If the key exists already this is success and the bytes there stay.
  virtual Task<Result<BlobInfo>> finish() = 0;
};

class Blobs {
 public:
  virtual ~Blobs() = default;
  /// Errc::invalid for a key that check_blob_key() refuses, here and below.
  virtual Task<Result<std::unique_ptr<BlobWriter>>> create(std::string_view key) = 0;
  /// create(), write() and finish() in one.
  virtual Task<Result<BlobInfo>> put(std::string_view key, std::string_view bytes) = 0;
  /// Errc::not_found; Errc::corrupt when the stored bytes are not what was put (checked whenever the whole is read).
  virtual Task<Result<std::string>> get(std::string_view key) = 0;
  /// `length` bytes from `offset`, fewer at the end, none after it. Errc::not_found.
  virtual Task<Result<std::string>> get_range(std::string_view key, std::int64_t offset, std::int64_t length) = 0;
  virtual Task<Result<std::optional<BlobInfo>>> head(std::string_view key) = 0;
  /// Those whose key begins with `prefix`, in key order (by bytes), after `after` (exclusive), at most `limit`.
  virtual Task<Result<std::vector<BlobInfo>>> list(std::string_view prefix, std::string_view after, std::size_t limit) = 0;
  /// Absent is success.
  virtual Task<Result<void>> remove(std::string_view key) = 0;
  /// A URL that serves the bytes without more questions until `expires`, where the store can make one; as a file of that name to
  /// browsers.
  virtual std::optional<std::string> signed_url(std::string_view key, Time expires, std::string_view file_name = {}) = 0;
  /// Nothing where the store can make none, or for more bytes than one of its PUTs may have: send them through create().
  virtual std::optional<SignedPut> signed_put(std::string_view key, std::int64_t size, const Sha256& digest, Time expires) = 0;
};

}  // namespace mayfly
