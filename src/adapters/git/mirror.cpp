#include "adapters/git/mirror.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>

namespace mayfly {
namespace {

namespace fs = std::filesystem;

// Runners fetch from here, by any name of a commit.
constexpr std::string_view config =
    "[core]\n\trepositoryformatversion = 0\n\tbare = true\n\tlogAllRefUpdates = false\n"
    "[uploadpack]\n\tallowAnySHA1InWant = true\n[gc]\n\tauto = 0\n[maintenance]\n\tauto = false\n";

std::unexpected<Error> cannot(std::string_view what, const fs::path& path, std::string_view why) {
  return fail(Errc::unavailable, "cannot " + std::string(what) + " '" + path.string() + "': " + std::string(why),
              "is there room on the disk, and may the server write there?");
}

Result<void> write_file(const fs::path& path, std::string_view text, std::ios::openmode mode = std::ios::trunc) {
  std::ofstream file(path, std::ios::binary | mode);
  file << text;
  file.close();
  if (!file) return cannot("write", path, std::strerror(errno));
  return {};
}

Result<void> rename_file(const fs::path& from, const fs::path& to) {
  std::error_code ec;
  fs::rename(from, to, ec);
  if (ec) return cannot("write", to, ec.message());
  return {};
}

}  // namespace

std::optional<std::string> Mirror::commit_of(const std::string& sha) const {
  std::ifstream ref(directory_ / ref_of(sha), std::ios::binary);
  std::string commit;
  return ref >> commit ? std::optional(commit) : std::nullopt;
}

std::optional<std::string> Mirror::use(const std::string& sha) const {
  auto commit = commit_of(sha);
  if (commit) ::utimensat(AT_FDCWD, (directory_ / ref_of(sha)).c_str(), nullptr, 0);
  return commit;
}

bool Mirror::has_history(const std::string& sha, int depth) const {
  std::ifstream file(directory_ / "history" / sha);
  int known = -1;
  return file >> known && (known == 0 || (depth > 0 && known >= depth));
}

Result<void> Mirror::create() const {
  std::error_code ec;
  if (fs::exists(directory_ / "HEAD", ec)) return {};
  auto fresh = directory_;
  fresh += ".new";
  fs::remove_all(fresh, ec);
  for (auto part : {"objects/pack", "objects/info", "refs/heads", "refs/mayfly"}) {
    fs::create_directories(fresh / part, ec);
    if (ec) return cannot("make", fresh / part, ec.message());
  }
  TRY(write_file(fresh / "config", config));
  TRY(write_file(fresh / "HEAD", "ref: refs/heads/none\n"));
  return rename_file(fresh, directory_);
}

Result<void> Mirror::mark(const std::string& sha, const std::string& commit) const {
  TRY(write_file(directory_ / "mark", commit + "\n"));
  return rename_file(directory_ / "mark", directory_ / ref_of(sha));
}

Result<void> Mirror::mark_history(const std::string& sha, int depth) const {
  std::error_code ec;
  fs::create_directories(directory_ / "history", ec);
  TRY(write_file(directory_ / "mark", std::to_string(depth) + "\n"));
  return rename_file(directory_ / "mark", directory_ / "history" / sha);
}

void Mirror::forget_histories() const {
  std::error_code ec;
  fs::remove_all(directory_ / "history", ec);
}

void Mirror::unmark(const std::string& sha) const {
  std::error_code ec;
  fs::remove(directory_ / ref_of(sha), ec);
  fs::remove(directory_ / "history" / sha, ec);
}

void Mirror::discard() const {
  auto broken = directory_;
  broken += ".broken";
  std::error_code ec;
  fs::remove_all(broken, ec);
  fs::rename(directory_, broken, ec);
  fs::remove_all(broken, ec);
}

Result<void> Mirror::add_shallow(const std::string& commit) const {
  return write_file(directory_ / "shallow", commit + "\n", std::ios::app);
}

void Mirror::clean(const std::string& sha) const {
  std::error_code ec;
  fs::remove(directory_ / "shallow.lock", ec);
  fs::remove(directory_ / (ref_of(sha) + ".lock"), ec);
  for (auto& entry : fs::directory_iterator(directory_ / "objects/pack", ec))
    if (entry.path().filename().string().starts_with("tmp_")) fs::remove(entry.path(), ec);
}

Result<MirrorLock> MirrorLock::take(const Mirror& mirror) {
  auto path = mirror.directory();
  path += ".lock";
  std::error_code ec;
  fs::create_directories(path.parent_path(), ec);
  MirrorLock lock(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (lock.fd_ < 0) return cannot("open", path, std::strerror(errno));
  while (::flock(lock.fd_, LOCK_EX) != 0)
    if (errno != EINTR) return cannot("lock", path, std::strerror(errno));
  return lock;
}

MirrorLock::~MirrorLock() {
  if (fd_ >= 0) ::close(fd_);
}

}  // namespace mayfly
