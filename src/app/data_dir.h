#pragma once
// The one directory that is a server: database, blobs, mirrors, keys, runners. Locked while a server lives in it.

#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "ports/clock.h"

namespace mayfly {

class DataDir final {
 public:
  /// Errc::conflict: another server has it; Errc::unavailable: it cannot be made or written.
  static Result<std::unique_ptr<DataDir>> open(std::string path);
  ~DataDir();

  const std::string& path() const { return path_; }
  std::string file(std::string_view name) const { return path_ + "/" + std::string(name); }

  /// The text of a file of ours (mode 0600); made with `text` first where it is missing.
  Result<std::string> keep(std::string_view name, std::string text) const;

 private:
  DataDir(std::string path, int lock) : path_(std::move(path)), lock_(lock) {}
  std::string path_;
  int lock_;
};

}  // namespace mayfly
