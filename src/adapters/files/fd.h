#pragma once
// A file descriptor that closes itself, and errno as our errors.

#include <unistd.h>

#include <cerrno>
#include <string>
#include <system_error>
#include <utility>

#include "base/result.h"

namespace mayfly::files {

class Fd final {
 public:
  explicit Fd(int fd = -1) : fd_(fd) {}
  ~Fd() {
    if (fd_ >= 0) ::close(fd_);
  }
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  explicit operator bool() const { return fd_ >= 0; }
  int get() const { return fd_; }

 private:
  int fd_;
};

inline std::unexpected<Error> errno_error(int code, std::string doing) {
  auto message = "blobs: " + std::move(doing) + ": " + std::generic_category().message(code);
  switch (code) {
    case ENOENT: return fail(Errc::not_found, std::move(message));
    case ENOSPC:
    case EDQUOT: return fail(Errc::unavailable, std::move(message), "the disk is full: make room, the server goes on by itself");
    case EACCES:
    case EPERM:
    case EROFS: return fail(Errc::unavailable, std::move(message), "check that this user may write to the folder");
    default: return fail(Errc::unavailable, std::move(message));
  }
}

}  // namespace mayfly::files
