#pragma once
// The blocking half of the file store: whatever touches the disk. Safe to use from several threads.

#include <atomic>
#include <optional>
#include <string>
#include <string_view>

#include "adapters/files/blobs.h"
#include "adapters/files/fd.h"

namespace mayfly::files {

/// A file in the making; removed when dropped unplaced.
class TempFile final {
 public:
  TempFile(Fd fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}
  ~TempFile();
  TempFile(TempFile&&) noexcept = default;

  Result<void> append(std::string_view bytes);
  std::int64_t size() const { return size_; }

 private:
  friend class Store;
  Fd fd_;
  std::string path_;
  Sha256Stream hash_;
  std::int64_t size_ = 0;
};

class Store final {
 public:
  static Result<std::unique_ptr<Store>> open(std::string folder, FileBlobsOptions options);

  const FileBlobsOptions& options() const { return options_; }

  Result<TempFile> make_temp();
  /// Gives it its trailer and its name, durably. If the key is taken already the bytes there stay.
  Result<BlobInfo> place(TempFile temp, std::string_view key);
  /// Whole and checked when the range covers it all.
  Result<std::string> read(std::string_view key, std::int64_t offset, std::int64_t length) const;
  Result<std::optional<BlobInfo>> head(std::string_view key) const;
  /// A blob whose end is damaged is listed with a length and digest of zeros, so that it can be found and removed.
  Result<std::vector<BlobInfo>> list(std::string_view prefix, std::string after, std::size_t limit) const;
  Result<void> remove(std::string_view key);

 private:
  struct Opened {
    Fd fd;
    BlobInfo info;
  };

  Store(std::string folder, FileBlobsOptions options);
  std::string path(std::string_view key) const;
  Result<Opened> open_blob(std::string_view key) const;
  Result<bool> link(const std::string& from, const std::string& to);
  Result<void> make_folders(const std::string& file);
  Result<void> sync_folder(const std::string& folder) const;

  const FileBlobsOptions options_;
  const std::string tree_, temps_;  // end in '/'
  std::atomic<std::uint64_t> temps_made_ = 0;
};

}  // namespace mayfly::files
