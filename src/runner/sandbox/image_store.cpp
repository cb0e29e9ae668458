#include "runner/sandbox/image_store.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>

#include "adapters/sandbox/tools.h"
#include "base/json.h"
#include "base/log.h"
#include "runner/sandbox/confined.h"
#include "runner/sandbox/uids.h"

namespace mayfly {
namespace {

namespace fs = std::filesystem;

constexpr std::chrono::milliseconds lock_interval(100);
constexpr std::chrono::seconds size_interval(1);
constexpr const char* owner_attribute = "user.rootlesscontainers";  // umoci writes down who a file belongs to that is not root's

std::unexpected<Error> failed(const std::string& what) {
  bool full = errno == ENOSPC || errno == EDQUOT;
  return fail(Errc::unavailable, "image: cannot " + what + ": " + std::strerror(errno), full ? "make room on the pool's machine" : "");
}

struct TreeSize {
  std::int64_t bytes = 0;
  std::int64_t files = 0;
};

/// Of what hostile layers made; never follows a symlink.
void add_tree(int parent, const char* name, TreeSize& size, int depth = 0) {
  UniqueFd fd(openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  DIR* directory = fd && depth < 256 ? fdopendir(fd.get()) : nullptr;
  if (!directory) return;
  int own = fd.release();
  while (auto* entry = readdir(directory)) {
    std::string_view entry_name = entry->d_name;
    struct stat st;
    if (entry_name == "." || entry_name == ".." || fstatat(own, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0) continue;
    size.bytes += std::int64_t(st.st_blocks) * 512;
    ++size.files;
    if (S_ISDIR(st.st_mode)) add_tree(own, entry->d_name, size, depth + 1);
  }
  closedir(directory);
}

TreeSize tree_size(const std::string& path) {
  TreeSize size;
  add_tree(AT_FDCWD, path.c_str(), size);
  return size;
}

/// Directories that belong to a user of the image, as far as its unpacking wrote that down.
void add_owned(int parent, const std::string& name, const std::string& path, std::vector<std::string>& out, int depth = 0) {
  UniqueFd fd(openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd || depth > 8 || out.size() >= max_image_writable) return;
  if (!path.empty() && fgetxattr(fd.get(), owner_attribute, nullptr, 0) > 0 && std::ranges::find(out, path) == out.end()) out.push_back(path);
  DIR* directory = fdopendir(fd.get());
  if (!directory) return;
  int own = fd.release();
  while (auto* entry = readdir(directory)) {
    std::string entry_name = entry->d_name;
    if (entry->d_type == DT_DIR && entry_name != "." && entry_name != "..") add_owned(own, entry_name, path.empty() ? entry_name : path + "/" + entry_name, out, depth + 1);
  }
  closedir(directory);
}

Result<void> within(const TreeSize& size, std::int64_t limit, const std::string& path) {
  if (size.bytes > limit) return fail(Errc::too_large, "image: it is larger than " + std::to_string(limit >> 20) + " MiB unpacked", "use a smaller image");
  if (size.files > max_image_files) return fail(Errc::too_large, "image: it has more than " + std::to_string(max_image_files) + " files", "use a smaller image");
  struct statvfs disk;
  if (statvfs(path.c_str(), &disk) == 0 && std::int64_t(disk.f_bavail) * std::int64_t(disk.f_frsize) < image_disk_reserve_bytes)
    return fail(Errc::unavailable, "image: the disk of the pool's machine is full", "make room below " + path);
  return {};
}

/// The configuration blob of a layout with one image.
Result<std::string> config_blob(const std::string& layout) {
  auto blob = [&](const json::value& descriptor) -> Result<std::string> {
    auto digest = find_string(descriptor, "digest");
    if (!digest || !digest->starts_with("sha256:") || digest->find_first_not_of("0123456789abcdef", 7) != digest->npos) return fail(Errc::corrupt, "image: its layout is malformed");
    return read_whole(layout + "/blobs/sha256/" + digest->substr(7), max_image_config_bytes);
  };
  TRY_ASSIGN(auto index, parse_json(read_whole(layout + "/index.json", max_image_config_bytes)));
  auto* manifests = find(index, "manifests");
  if (!manifests || !manifests->is_array() || manifests->get_array().empty()) return fail(Errc::corrupt, "image: its layout has no manifest");
  TRY_ASSIGN(auto manifest_text, blob(manifests->get_array().front()));
  TRY_ASSIGN(auto manifest, parse_json(manifest_text));
  auto* config = find(manifest, "config");
  if (!config) return fail(Errc::corrupt, "image: its manifest names no configuration");
  return blob(*config);
}

void give_to(const std::string& path, uid_t owner) {
  std::error_code ec;
  if (lchown(path.c_str(), owner, owner) != 0) return;
  for (fs::recursive_directory_iterator at(path, ec), end; !ec && at != end; at.increment(ec)) {
    if (lchown(at->path().c_str(), owner, owner) != 0) return;
  }
}

}  // namespace

Result<Image> ImageStore::find(const std::string& key) {
  UniqueFd use(open((images_ + "/use-" + key).c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600));
  if (!use) return errno == ENOENT ? fail(Errc::not_found, "image: not here") : failed("open " + images_ + "/use-" + key);
  while (flock(use.get(), LOCK_SH) != 0)
    if (errno != EINTR) return failed("lock " + images_ + "/use-" + key);
  auto root = images_ + "/" + key;
  if (access(root.c_str(), F_OK) != 0) return fail(Errc::not_found, "image: not here");
  futimens(use.get(), nullptr);
  TRY_ASSIGN(auto config, image_config_from_json(read_whole(root + ".json", max_image_config_bytes)));
  return Image{root, std::move(config), std::move(use)};
}

Result<Image> ImageStore::get(const std::string& key, const Fetch& fetch) {
  std::error_code ec;
  fs::create_directories(images_, ec);
  chmod(images_.c_str(), 0700);
  for (;;) {
    auto found = find(key);
    if (found || found.error().code != Errc::not_found) return found;
    TRY_ASSIGN(auto locked, lock(key));
    found = find(key);  // another's work, while we waited
    if (found || found.error().code != Errc::not_found) return found;
    TRY(make(key, fetch));
    make_room(key);
  }
}

Result<UniqueFd> ImageStore::lock(const std::string& key) {
  UniqueFd fd(open((images_ + "/lock-" + key).c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600));
  if (!fd) return failed("open " + images_ + "/lock-" + key);
  while (flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EINTR && errno != EWOULDBLOCK) return failed("lock " + images_ + "/lock-" + key);
    if (options_.stop.stop_requested()) return fail(Errc::canceled, "image: stopped");
    std::this_thread::sleep_for(lock_interval);
  }
  return fd;
}

Result<void> ImageStore::make(const std::string& key, const Fetch& fetch) {
  auto partial = images_ + "/partial-" + key, root = images_ + "/" + key;
  std::error_code ec;
  fs::remove_all(partial, ec);  // of one that was killed
  if (mkdir(partial.c_str(), 0700) != 0) return failed("make " + partial);
  auto made = [&]() -> Result<void> {
    TRY(fetch(partial + "/layout"));
    TRY(unpack(partial));
    TRY_ASSIGN(auto oci, config_blob(partial + "/layout"));
    auto config = image_config_of(oci);
    add_owned(AT_FDCWD, partial + "/bundle/rootfs", "", config.writable);
    auto size = tree_size(partial + "/bundle/rootfs");
    std::ofstream(root + ".json") << to_json(config);
    std::ofstream(root + ".size") << size.bytes;
    UniqueFd unpacked(open((partial + "/bundle/rootfs").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    // Its name is the promise that it is whole, also after a power cut.
    if (!unpacked || syncfs(unpacked.get()) != 0) return failed("sync " + partial);
    if (rename((partial + "/bundle/rootfs").c_str(), root.c_str()) != 0) return failed("rename to " + root);
    return {};
  }();
  fs::remove_all(partial, ec);
  return made;
}

Result<void> ImageStore::unpack(const std::string& partial) {
  if (find_program("umoci").empty()) return fail(Errc::unsupported, "image: umoci is not installed on the pool's machine", "run scripts/install-deps");
  if (geteuid() == 0) give_to(partial, image_uid);
  auto command = confined(partial, false, {"umoci", "unpack", "--rootless", "--image", "layout:image", "bundle"});
  auto next = std::chrono::steady_clock::now() + size_interval;
  auto look = [&]() -> Result<void> {
    if (std::chrono::steady_clock::now() < next) return {};
    auto began = std::chrono::steady_clock::now();
    auto checked = within(tree_size(partial + "/bundle"), options_.image_bytes, partial);
    // A large tree takes long to walk; walking is a tenth of the time at most.
    next = std::chrono::steady_clock::now() + std::max<std::chrono::nanoseconds>(size_interval, 9 * (std::chrono::steady_clock::now() - began));
    return checked;
  };
  // Its HOME is where nothing is: it reads no configuration of anybody's.
  auto unpacked = run_tool(command, {.environment = {"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/nonexistent"}, .stop = options_.stop, .look = look});
  if (!unpacked) {
    bool full = unpacked.error().message.contains("no space left");
    if (full) return fail(Errc::unavailable, "image: the disk of the pool's machine is full", "make room below " + images_);
    return std::unexpected(unpacked.error());
  }
  return within(tree_size(partial + "/bundle"), options_.image_bytes, partial);
}

std::int64_t ImageStore::bytes() const {
  std::int64_t sum = 0;
  std::error_code ec;
  for (fs::directory_iterator at(images_, ec), end; !ec && at != end; at.increment(ec)) {
    auto name = at->path().filename().string();
    std::int64_t size = 0;
    if (name.ends_with(".size") && std::ifstream(at->path()) >> size) sum += size;
  }
  return sum;
}

void ImageStore::make_room(const std::string& keep) {
  auto sum = bytes();
  if (sum <= options_.limit_bytes) return;
  std::vector<std::pair<fs::file_time_type, std::string>> oldest;
  std::error_code ec;
  for (fs::directory_iterator at(images_, ec), end; !ec && at != end; at.increment(ec)) {
    auto name = at->path().filename().string();
    if (name.starts_with("use-") && name.substr(4) != keep) oldest.emplace_back(fs::last_write_time(at->path(), ec), name.substr(4));
  }
  std::ranges::sort(oldest);
  for (auto& [time, key] : oldest) {
    if (sum <= options_.limit_bytes) return;
    std::int64_t size = 0;
    std::ifstream(images_ + "/" + key + ".size") >> size;
    if (remove_unused(key)) sum -= size;
  }
}

/// Whoever takes an image has it locked before it looks whether it is there, so what nobody has locked can go.
bool ImageStore::remove_unused(const std::string& key) {
  auto root = images_ + "/" + key, gone = images_ + "/partial-gone-" + unique_suffix();
  UniqueFd use(open((images_ + "/use-" + key).c_str(), O_RDWR | O_CLOEXEC));
  if (!use || flock(use.get(), LOCK_EX | LOCK_NB) != 0) return false;
  bool removed = rename(root.c_str(), gone.c_str()) == 0;
  std::error_code ec;
  for (auto suffix : {".json", ".size"}) fs::remove(root + suffix, ec);
  fs::remove_all(gone, ec);
  if (removed) log_info("an image that nobody used for long is removed", {{"image", key}});
  return removed;
}

}  // namespace mayfly
