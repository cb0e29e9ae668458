#include "app/data_dir.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <system_error>
#include <thread>

namespace mayfly {
namespace {

constexpr auto lock_patience = std::chrono::seconds(1);

std::unexpected<Error> errno_error(std::string doing) {
  auto code = errno;
  return fail(Errc::unavailable, doing + ": " + std::generic_category().message(code), "choose another directory with --data");
}

/// A server that was just killed may have a child that has not come to its exec yet, and holds the lock until then.
bool locked_in_time(int lock) {
  using namespace std::chrono;
  for (auto give_up = steady_clock::now() + lock_patience; ::flock(lock, LOCK_EX | LOCK_NB) != 0;) {
    if (steady_clock::now() >= give_up) return false;
    std::this_thread::sleep_for(milliseconds(20));
  }
  return true;
}

}  // namespace

Result<std::unique_ptr<DataDir>> DataDir::open(std::string path) {
  std::error_code ec;
  auto full = std::filesystem::absolute(path, ec);
  if (!ec) std::filesystem::create_directories(full, ec);
  if (ec) return fail(Errc::unavailable, "the data directory " + path + " cannot be made: " + ec.message(), "choose another one with --data");
  path = full.lexically_normal().string();
  while (path.size() > 1 && path.ends_with('/')) path.pop_back();
  ::chmod(path.c_str(), 0700);
  int lock = ::open((path + "/lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (lock < 0) return errno_error("the data directory " + path + " cannot be written");
  if (!locked_in_time(lock)) {
    ::close(lock);
    return fail(Errc::conflict, "another server uses the data directory " + path, "stop it, or choose another directory with --data");
  }
  return std::unique_ptr<DataDir>(new DataDir(std::move(path), lock));
}

DataDir::~DataDir() { ::close(lock_); }

Result<std::string> DataDir::keep(std::string_view name, std::string text) const {
  auto where = file(name);
  if (std::ifstream in(where); in) {
    std::ostringstream all;
    all << in.rdbuf();
    auto kept = all.str();
    while (kept.ends_with('\n')) kept.pop_back();
    if (!kept.empty()) return kept;
  }
  auto temp = where + ".new";
  int fd = ::open(temp.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return errno_error(temp + " cannot be written");
  auto line = text + "\n";
  bool written = ::write(fd, line.data(), line.size()) == ssize_t(line.size()) && ::fsync(fd) == 0;
  ::close(fd);
  if (!written || ::rename(temp.c_str(), where.c_str()) != 0) return errno_error(where + " cannot be written");
  return text;
}

}  // namespace mayfly
