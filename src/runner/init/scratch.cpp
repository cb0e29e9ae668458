#include "runner/init/scratch.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "domain/runner/protocol.h"

namespace mayfly {
namespace {

std::unexpected<Error> failed(std::string_view what, const std::string& path) {
  return fail(Errc::unavailable, "cannot " + std::string(what) + " '" + path + "': " + std::strerror(errno));
}

bool write_file(int directory, const char* name, std::string_view text) {
  int fd = ::openat(directory, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) return false;
  while (!text.empty()) {
    auto n = ::write(fd, text.data(), text.size());
    if (n <= 0) break;
    text.remove_prefix(static_cast<std::size_t>(n));
  }
  return ::close(fd) == 0 && text.empty();
}

}  // namespace

Result<Scratch> Scratch::make(const std::string& parent) {
  std::string path = parent + "/mayfly-XXXXXX";
  if (!::mkdtemp(path.data())) return failed("make a directory in", parent);
  return Scratch(std::move(path));
}

Scratch::~Scratch() {
  std::error_code ignored;
  if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
}

Result<StepFiles> StepFiles::make(const std::string& scratch, std::size_t step, std::string_view script) {
  std::string path = scratch + "/step-" + std::to_string(step);
  if (::mkdir(scratch.c_str(), 0700) != 0 && errno != EEXIST) return failed("make", scratch);  // a step may have removed it
  if (::mkdir(path.c_str(), 0700) != 0) return failed("make", path);
  int directory = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (directory < 0) return failed("open", path);
  StepFiles files(path, directory);
  if (!write_file(directory, "script", script) || !write_file(directory, "output", "") || !write_file(directory, "env", ""))
    return failed("write to", path);
  return files;
}

StepFiles::~StepFiles() {
  if (directory_ >= 0) ::close(directory_);
}

Result<std::string> StepFiles::read(const char* name) const {
  int fd = ::openat(directory_, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0 && errno == ENOENT) return std::string();
  struct stat info;
  if (fd < 0 || ::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    if (fd >= 0) ::close(fd);
    return fail(Errc::invalid, "it is no plain file any more");
  }
  std::string text(max_step_output_bytes + 1, '\0');
  std::size_t size = 0;
  for (ssize_t n; size < text.size() && (n = ::read(fd, text.data() + size, text.size() - size)) > 0;) size += static_cast<std::size_t>(n);
  ::close(fd);
  if (size > max_step_output_bytes)
    return fail(Errc::too_large, "it is over the limit of " + std::to_string(max_step_output_bytes) + " bytes");
  text.resize(size);
  return text;
}

}  // namespace mayfly
