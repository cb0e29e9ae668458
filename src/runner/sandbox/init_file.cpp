#include "runner/sandbox/init_file.h"

#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "adapters/sandbox/tools.h"
#include "adapters/sandbox/unique_fd.h"

namespace mayfly {
namespace {

std::unexpected<Error> failed(const std::string& what) {
  return fail(Errc::unavailable, "sandbox: cannot " + what + ": " + std::strerror(errno));
}

bool copy_bytes(int from, int to, off_t size) {
  for (off_t done = 0; done < size;) {
    auto n = sendfile(to, from, nullptr, std::size_t(size - done));
    if (n <= 0) return false;
    done += n;
  }
  return true;
}

}  // namespace

Result<std::string> exec_only_init(const std::string& init_path, const std::string& cache_dir) {
  UniqueFd source(open(init_path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat st;
  if (!source || fstat(source.get(), &st) != 0 || !S_ISREG(st.st_mode))
    return fail(Errc::not_found, "sandbox: no mayfly-init at " + init_path, "it is installed beside mayfly-runner");
  auto version = std::to_string(st.st_dev) + "-" + std::to_string(st.st_ino) + "-" + std::to_string(st.st_mtim.tv_sec) + "." +
                 std::to_string(st.st_mtim.tv_nsec) + "-" + std::to_string(st.st_size);
  auto path = cache_dir + "/init-" + version;
  if (access(path.c_str(), F_OK) == 0) return path;

  std::error_code ec;
  std::filesystem::create_directories(cache_dir, ec);
  auto partial = path + "." + unique_suffix() + ".partial";
  UniqueFd copy(open(partial.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600));
  if (!copy || !copy_bytes(source.get(), copy.get(), st.st_size) || fchmod(copy.get(), 0111) != 0) return failed("copy mayfly-init to " + partial);
  copy.reset();
  if (rename(partial.c_str(), path.c_str()) != 0) return failed("rename " + partial);
  return path;
}

}  // namespace mayfly
