#pragma once
// Writes tar in the pax interchange format (POSIX.1-2001, pax, "ustar Interchange Format"). Unpacking hostile tars is left to
// libarchive; its writer would bring a dozen shared libraries into a program that starts once per job.

#include <sys/stat.h>

#include <string>
#include <vector>

#include "base/result.h"

namespace mayfly {

class TarWriter final {
 public:
  /// Appends to `fd`, which stays the caller's.
  explicit TarWriter(int fd) : fd_(fd) {}

  // `info` gives mode and time. Errors: Errc::too_large when the disk is full, else Errc::unavailable.
  Result<void> directory(const std::string& path, const struct stat& info);
  Result<void> link(const std::string& path, const std::string& target, const struct stat& info);
  /// The info.st_size bytes `content` holds.
  Result<void> file(const std::string& path, int content, const struct stat& info);
  Result<void> finish();

 private:
  struct Entry;
  Result<void> header(const Entry& entry);
  Result<void> write(std::string_view bytes);
  Result<void> flush();

  int fd_;
  std::string buffer_;
};

}  // namespace mayfly
