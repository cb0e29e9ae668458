#pragma once
// Bytes that outlive runners: log chunks, artifacts. Keys are paths like "artifacts/<sha256>"; a key is written once and
// its bytes never change.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
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

/// Bytes on their way in. Nothing is visible until finish(); destroyed before that, nothing remains.
class BlobWriter {
 public:
  virtual ~BlobWriter() = default;
  virtual Task<Result<void>> write(std::string_view bytes) = 0;
  /// Durable and visible when it returns. If the key exists already this is success and the bytes there stay.
  virtual Task<Result<BlobInfo>> finish() = 0;
};

class Blobs {
 public:
  virtual ~Blobs() = default;
  /// Errc::invalid for a key with "..", a leading '/', or characters outside [A-Za-z0-9._/-].
  virtual Task<Result<std::unique_ptr<BlobWriter>>> create(std::string_view key) = 0;
  virtual Task<Result<BlobInfo>> put(std::string_view key, std::string_view bytes) = 0;
  /// Errc::not_found; Errc::corrupt when the stored bytes are not what was put (checked whenever the whole is read).
  virtual Task<Result<std::string>> get(std::string_view key) = 0;
  /// `length` bytes from `offset`, fewer at the end. Errc::not_found.
  virtual Task<Result<std::string>> get_range(std::string_view key, std::int64_t offset, std::int64_t length) = 0;
  virtual Task<Result<std::optional<BlobInfo>>> head(std::string_view key) = 0;
  /// In key order, after `after` (exclusive), at most `limit`.
  virtual Task<Result<std::vector<BlobInfo>>> list(std::string_view prefix, std::string_view after, std::size_t limit) = 0;
  /// Absent is success.
  virtual Task<Result<void>> remove(std::string_view key) = 0;
  /// A URL that serves the bytes without more questions until `expires`, where the store can make one.
  virtual std::optional<std::string> signed_url(std::string_view key, Time expires) = 0;
};

}  // namespace mayfly
