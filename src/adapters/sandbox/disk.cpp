#include "adapters/sandbox/disk.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <utility>

#include "adapters/sandbox/tools.h"
#include "base/log.h"

namespace mayfly {
namespace {

constexpr std::int64_t smallest_disk = std::int64_t(16) << 20;
constexpr std::int64_t much = std::int64_t(64) << 20;
constexpr int loop_attempts = 64;  // another process may take the free device first

// From the kernel's ext4.h, which it does not export.
constexpr unsigned long ext4_ioc_shutdown = _IOR('X', 125, std::uint32_t);
constexpr std::uint32_t without_flushing = 2;

std::unexpected<Error> failed(const std::string& what) {
  return fail(Errc::unavailable, "sandbox: cannot " + what + ": " + std::strerror(errno));
}

Result<std::string> formatted_template(const std::string& cache_dir, std::int64_t bytes) {
  auto path = cache_dir + "/disk-" + std::to_string(bytes) + ".ext4";
  if (access(path.c_str(), R_OK) == 0) return path;
  std::error_code ec;
  std::filesystem::create_directories(cache_dir, ec);
  auto partial = path + "." + unique_suffix() + ".partial";
  UniqueFd fd(open(partial.c_str(), O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0600));
  if (!fd || ftruncate(fd.get(), bytes) != 0) return failed("write " + partial);
  auto made = run_tool({"mkfs.ext4", "-q", "-F", "-m", "0", "-O", "^has_journal,^resize_inode", "-E", "lazy_itable_init=1,nodiscard,root_owner=0:0", partial});
  if (!made) {
    unlink(partial.c_str());
    return std::unexpected(made.error());
  }
  if (rename(partial.c_str(), path.c_str()) != 0) return failed("rename " + partial);
  return path;
}

Result<UniqueFd> copy_sparse(const std::string& from, const std::string& to) {
  UniqueFd in(open(from.c_str(), O_RDONLY | O_CLOEXEC)), out(open(to.c_str(), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600));
  struct stat st;
  if (!in || !out || fstat(in.get(), &st) != 0 || ftruncate(out.get(), st.st_size) != 0) return failed("copy " + from + " to " + to);
  char buffer[64 << 10];
  for (off_t data = 0; (data = lseek(in.get(), data, SEEK_DATA)) >= 0;) {
    off_t hole = lseek(in.get(), data, SEEK_HOLE);
    for (ssize_t n = 0; data < hole; data += n) {
      n = pread(in.get(), buffer, std::min(sizeof buffer, std::size_t(hole - data)), data);
      if (n <= 0 || pwrite(out.get(), buffer, std::size_t(n), data) != n) return failed("copy " + from + " to " + to);
    }
  }
  return out;
}

struct LoopDevice {
  std::string path;
  UniqueFd fd;  // open until it is mounted: then the mount keeps the device, and its end frees it
};

Result<LoopDevice> attach_loop(int file) {
  UniqueFd control(open("/dev/loop-control", O_RDWR | O_CLOEXEC));
  if (!control) return failed("open /dev/loop-control");
  for (int attempt = 0; attempt < loop_attempts; ++attempt) {
    int number = ioctl(control.get(), LOOP_CTL_GET_FREE);
    if (number < 0) return failed("find a free loop device");
    auto path = "/dev/loop" + std::to_string(number);
    UniqueFd device(open(path.c_str(), O_RDWR | O_CLOEXEC));
    if (!device) return failed("open " + path);
    loop_config config{};
    config.fd = unsigned(file);
    config.info.lo_flags = LO_FLAGS_AUTOCLEAR;
    if (ioctl(device.get(), LOOP_CONFIGURE, &config) == 0) return LoopDevice{path, std::move(device)};
    if (errno != EBUSY) return failed("attach " + path);
  }
  return fail(Errc::unavailable, "sandbox: loop devices are taken faster than they can be had");
}

Result<UniqueFd> mount_detached(const std::string& device) {
  UniqueFd context(fsopen("ext4", FSOPEN_CLOEXEC));
  bool ok = context && fsconfig(context.get(), FSCONFIG_SET_STRING, "source", device.c_str(), 0) == 0;
  for (const char* option : {"noinit_itable", "nobarrier"}) ok = ok && fsconfig(context.get(), FSCONFIG_SET_FLAG, option, nullptr, 0) == 0;
  ok = ok && fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) == 0;
  UniqueFd disk(ok ? fsmount(context.get(), FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOATIME) : -1);
  if (!disk) return failed("mount " + device);
  return disk;
}

/// Is `path` the root of a disk made for `bytes`? File systems tell a little less than their size.
bool is_disk_for(const std::string& path, std::int64_t bytes) {
  struct statx at;
  if (statx(AT_FDCWD, path.c_str(), AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &at) != 0 || !(at.stx_attributes & STATX_ATTR_MOUNT_ROOT)) return false;
  struct statfs fs;
  if (statfs(path.c_str(), &fs) != 0 || fs.f_type != EXT4_SUPER_MAGIC) return false;
  auto size = std::int64_t(fs.f_blocks) * fs.f_bsize;
  return size <= disk_step(bytes) && size > disk_step(bytes) / 10 * 9;
}

bool holds_much(const std::string& path) {
  struct statfs fs;
  return statfs(path.c_str(), &fs) == 0 && std::int64_t(fs.f_blocks - fs.f_bfree) * fs.f_bsize > much;
}

/// Else the unmount would write every dirty page into a file that has no name. Not for every disk: the kernel logs it, loudly.
void drop_unwritten(const std::string& path) {
  UniqueFd root(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  std::uint32_t flags = without_flushing;
  ioctl(root.get(), ext4_ioc_shutdown, &flags);
}

}  // namespace

std::int64_t disk_step(std::int64_t bytes) {
  bytes = std::max(bytes, smallest_disk);
  auto step = std::int64_t(1) << (std::bit_width(std::uint64_t(bytes)) - 4);
  return (bytes + step - 1) / step * step;
}

Result<UniqueFd> make_detached_disk(const std::string& cache_dir, std::int64_t bytes) {
  TRY_ASSIGN(auto formatted, formatted_template(cache_dir, disk_step(bytes)));
  auto image = cache_dir + "/disk-" + unique_suffix() + ".image";
  auto file = copy_sparse(formatted, image);
  auto device = file ? attach_loop(file->get()) : std::unexpected(file.error());
  unlink(image.c_str());
  if (!device) return std::unexpected(device.error());
  return mount_detached(device->path);
}

bool attach_disk(int disk, const char* directory) { return move_mount(disk, "", AT_FDCWD, directory, MOVE_MOUNT_F_EMPTY_PATH) == 0; }

Result<AttemptDisk> AttemptDisk::create(const std::string& attempt_dir, const std::string& cache_dir, std::int64_t bytes) {
  AttemptDisk disk;
  disk.path_ = attempt_dir + "/disk";
  if (mkdir(disk.path_.c_str(), 0711) != 0 && errno != EEXIST) return failed("make " + disk.path_);
  if (bytes <= 0) return disk;
  if (geteuid() != 0) {
    disk.why_ = "only root can mount a disk of its own for each job";
    return disk;
  }
  disk.mounted_ = is_disk_for(disk.path_, bytes);
  if (disk.mounted_) return disk;
  auto made = make_detached_disk(cache_dir, bytes);
  disk.mounted_ = made && attach_disk(made->get(), disk.path_.c_str());
  if (!made) disk.why_ = made.error().message;
  if (made && !disk.mounted_) return failed("mount a disk on " + disk.path_);
  return disk;
}

AttemptDisk::AttemptDisk(AttemptDisk&& other) noexcept
    : path_(std::move(other.path_)), why_(std::move(other.why_)), mounted_(std::exchange(other.mounted_, false)) {}

AttemptDisk::~AttemptDisk() {
  if (!mounted_) return;
  if (holds_much(path_)) drop_unwritten(path_);
  umount2(path_.c_str(), MNT_DETACH);
}

bool AttemptDisk::full() const {
  struct statfs fs;
  if (!mounted_ || statfs(path_.c_str(), &fs) != 0) return false;
  auto free = std::int64_t(fs.f_bavail) * fs.f_bsize, all = std::int64_t(fs.f_blocks) * fs.f_bsize;
  return free < std::min<std::int64_t>(all / 100, 1 << 20) || fs.f_ffree == 0;
}

UniqueFd SpareDisks::take(std::int64_t bytes) {
  std::lock_guard lock(mutex_);
  if (disks_.empty() || size_ != disk_step(bytes)) return {};
  auto disk = std::move(disks_.back());
  disks_.pop_back();
  return disk;
}

bool SpareDisks::add(UniqueFd disk, std::int64_t size) {
  std::vector<UniqueFd> of_another_size;  // unmounted after the lock is let go
  std::lock_guard lock(mutex_);
  if (size_ != size) of_another_size.swap(disks_);
  size_ = size;
  if (disk && disks_.size() < most_) disks_.push_back(std::move(disk));
  return disks_.size() < most_;
}

void SpareDisks::refill(std::int64_t bytes) {
  std::unique_lock working(working_, std::try_to_lock);
  if (!working || bytes <= 0) return;
  auto size = disk_step(bytes);
  for (bool more = add({}, size); more;) {
    auto disk = make_detached_disk(cache_dir_, size);
    if (!disk) return log_warn("no spare disk could be made", {{"error", disk.error().message}});
    more = add(*std::move(disk), size);
  }
}

}  // namespace mayfly
