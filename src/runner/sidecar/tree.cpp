#include "runner/sidecar/tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <memory>

namespace mayfly {
namespace {

UniqueFd open_beneath(int root, const std::string& path, int flags, std::uint64_t resolve, mode_t mode = 0) {
  open_how how{};
  how.flags = static_cast<std::uint64_t>(flags | O_CLOEXEC);
  how.mode = mode;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | resolve;
  return UniqueFd(static_cast<int>(::syscall(SYS_openat2, root, path.c_str(), &how, sizeof how)));
}

std::unexpected<Error> failed(std::string_view what, std::string_view path) {
  auto code = errno == ENOENT || errno == ENOTDIR                     ? Errc::not_found
              : errno == EXDEV || errno == ELOOP || errno == EEXIST   ? Errc::forbidden
              : errno == ENOSPC || errno == EDQUOT                    ? Errc::too_large
                                                                      : Errc::unavailable;
  auto why = errno == EXDEV ? "it leads out of the workspace" : errno == ELOOP ? "a symbolic link is in the way" : std::strerror(errno);
  return fail(code, "cannot " + std::string(what) + " '" + std::string(path) + "': " + why);
}

struct CloseDirectory {
  void operator()(DIR* d) const { ::closedir(d); }
};
using Directory = std::unique_ptr<DIR, CloseDirectory>;

Result<std::vector<std::string>> names_in(UniqueFd fd, const std::string& path) {
  Directory directory(::fdopendir(fd.get()));
  if (!directory) return failed("read the directory", path);
  fd.release();
  std::vector<std::string> names;
  while (auto* entry = ::readdir(directory.get())) {
    std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
    if (names.size() > max_tree_entries) return fail(Errc::too_large, "the directory '" + path + "' has too many entries");
  }
  std::ranges::sort(names);
  return names;
}

class Walk final {
 public:
  Walk(int root, const std::function<bool(const TreeEntry&)>& visit) : root_(root), visit_(visit) {}

  Result<void> at(const std::string& path, std::size_t depth) {
    TreeEntry entry{path, {}};
    auto self = open_beneath(root_, path, O_PATH | O_NOFOLLOW, RESOLVE_NO_SYMLINKS);
    if (!self && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP || errno == ENAMETOOLONG) && depth == 0) return {};
    if (!self || ::fstat(self.get(), &entry.info) != 0) return failed("look at", path);
    if (++entries_ > max_tree_entries || depth > max_tree_depth_walked)
      return fail(Errc::too_large, "the workspace has too many or too deeply nested files below '" + path + "'");
    if (!visit_(entry) || !S_ISDIR(entry.info.st_mode)) return {};
    TRY_ASSIGN(auto names, names_in(open_beneath(root_, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, RESOLVE_NO_SYMLINKS), path));
    for (auto& name : names) TRY(at(path == "." ? name : path + "/" + name, depth + 1));
    return {};
  }

 private:
  int root_;
  const std::function<bool(const TreeEntry&)>& visit_;
  std::size_t entries_ = 0;
};

}  // namespace

Result<std::string> clean_path(std::string_view path) {
  auto refused = [&] { return fail(Errc::forbidden, "the path '" + std::string(path) + "' is not one inside the workspace"); };
  if (path.empty() || path.starts_with('/') || path.find('\0') != path.npos || path.size() >= PATH_MAX) return refused();
  std::string out;
  for (std::size_t at = 0; at <= path.size();) {
    auto end = std::min(path.find('/', at), path.size());
    auto part = path.substr(at, end - at);
    at = end + 1;
    if (part.empty() || part == ".") continue;
    if (part == "..") return refused();
    if (!out.empty()) out += '/';
    out += part;
  }
  return out.empty() ? "." : out;
}

bool link_stays_inside(std::string_view path, std::string_view target) {
  if (target.empty() || target.starts_with('/')) return false;
  auto depth = std::ranges::count(path, '/');
  for (std::size_t at = 0; at < target.size();) {
    auto end = std::min(target.find('/', at), target.size());
    auto part = target.substr(at, end - at);
    at = end + 1;
    if (part == "..") --depth;
    else if (!part.empty() && part != ".") ++depth;
    if (depth < 0) return false;
  }
  return true;
}

Result<Tree> Tree::open(const std::string& directory) {
  UniqueFd root(::open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!root) return failed("open the directory", directory);
  return Tree(std::move(root));
}

Result<UniqueFd> Tree::open_file(const std::string& path) const {
  auto fd = open_beneath(root_.get(), path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
  struct stat info;
  if (!fd) return failed("open", path);
  if (::fstat(fd.get(), &info) != 0 || !S_ISREG(info.st_mode)) return fail(Errc::forbidden, "'" + path + "' is no plain file");
  return fd;
}

Result<UniqueFd> Tree::open_parent(const std::string& path, std::string& name) const {
  auto slash = path.rfind('/');
  name = path.substr(slash == path.npos ? 0 : slash + 1);
  auto parent = slash == path.npos ? std::string(".") : path.substr(0, slash);
  if (auto fd = open_beneath(root_.get(), parent, O_PATH | O_DIRECTORY, RESOLVE_NO_SYMLINKS)) return fd;
  if (errno != ENOENT) return failed("open the directory", parent);
  TRY(make_directory(parent, 0755));
  auto fd = open_beneath(root_.get(), parent, O_PATH | O_DIRECTORY, RESOLVE_NO_SYMLINKS);
  if (!fd) return failed("open the directory", parent);
  return fd;
}

Result<UniqueFd> Tree::create_file(const std::string& path, mode_t mode) const {
  std::string name;
  TRY_ASSIGN(auto parent, open_parent(path, name));
  if (::unlinkat(parent.get(), name.c_str(), 0) != 0 && errno != ENOENT) return failed("replace", path);
  UniqueFd fd(::openat(parent.get(), name.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fd || ::fchmod(fd.get(), mode & 0777) != 0) return failed("write", path);
  return fd;
}

Result<void> Tree::make_directory(const std::string& path, mode_t mode) const {
  if (path == ".") return {};
  std::string name;
  TRY_ASSIGN(auto parent, open_parent(path, name));
  if (::mkdirat(parent.get(), name.c_str(), mode & 0777) == 0) return {};
  struct stat info;
  if (errno == EEXIST && ::fstatat(parent.get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(info.st_mode)) return {};
  errno = EEXIST;
  return failed("make the directory", path);
}

Result<void> Tree::make_link(const std::string& path, const std::string& target) const {
  if (!link_stays_inside(path, target)) return fail(Errc::forbidden, "the symbolic link '" + path + "' leads out of the workspace");
  std::string name;
  TRY_ASSIGN(auto parent, open_parent(path, name));
  if (::unlinkat(parent.get(), name.c_str(), 0) != 0 && errno != ENOENT) return failed("replace", path);
  if (::symlinkat(target.c_str(), parent.get(), name.c_str()) != 0) return failed("make the link", path);
  return {};
}

Result<std::string> Tree::read_link(const std::string& path) const {
  auto fd = open_beneath(root_.get(), path, O_PATH | O_NOFOLLOW, 0);
  std::string target(PATH_MAX, '\0');
  auto n = fd ? ::readlinkat(fd.get(), "", target.data(), target.size()) : -1;
  if (n < 0) return failed("read the link", path);
  target.resize(static_cast<std::size_t>(n));
  return target;
}

Result<void> Tree::walk(const std::string& path, const std::function<bool(const TreeEntry&)>& visit) const {
  return Walk(root_.get(), visit).at(path, 0);
}

Result<void> Tree::give_to(uid_t uid, gid_t gid) const {
  Result<void> given;
  TRY(walk(".", [&](const TreeEntry& entry) {
    if (entry.info.st_uid == uid && entry.info.st_gid == gid) return true;
    auto fd = open_beneath(root_.get(), entry.path, O_PATH | O_NOFOLLOW, RESOLVE_NO_SYMLINKS);
    if (given && (!fd || ::fchownat(fd.get(), "", uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) != 0)) given = failed("give away", entry.path);
    return true;
  }));
  return given;
}

}  // namespace mayfly
