#include "runner/sandbox/root.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <optional>
#include <sstream>
#include <string_view>

namespace mayfly {
namespace {

constexpr unsigned long job_mount = MS_NOSUID | MS_NODEV;

// The host's directories a build needs: programs, libraries, their configuration, and vendors' tools. Each is the lower half
// of an overlay. Not here, so not there: /home /root /srv (people's files), /run /tmp /dev /sys (sockets, devices, other
// programs' files), /var (logs, mail, databases, spools), /boot, /lost+found, /mnt, /media, and whatever else stands in /.
constexpr const char* overlaid[] = {"usr", "etc", "opt", "bin", "sbin", "lib", "lib32", "lib64", "libx32"};

// Read-only: what package tools read to say what is installed, and a store that is world-readable by its design.
constexpr const char* read_only[] = {"var/lib/dpkg", "var/lib/apt", "var/lib/texmf", "var/lib/aspell", "var/lib/dictionaries-common",
                                     "var/lib/xml-core", "var/lib/sgml-base", "var/lib/ghc", "nix/store"};

// Below /etc: passwords, keys and tokens of this machine and of what it serves. Most are readable by root only, which a job is
// not; they are left out besides, for the day one of them has the wrong mode.
constexpr const char* secret[] = {
    "etc/shadow", "etc/shadow-", "etc/gshadow", "etc/gshadow-", "etc/.pwd.lock", "etc/security/opasswd", "etc/sudoers", "etc/sudoers.d",
    "etc/ssl/private", "etc/pki/tls/private", "etc/letsencrypt", "etc/krb5.keytab", "etc/fstab", "etc/crypttab", "etc/machine-id",
    "etc/mayfly", "etc/docker", "etc/containerd", "etc/kubernetes", "etc/rancher", "etc/cni", "etc/vault.d", "etc/consul.d", "etc/nomad.d",
    "etc/wireguard", "etc/openvpn", "etc/ipsec.d", "etc/ipsec.secrets", "etc/swanctl", "etc/NetworkManager", "etc/netplan", "etc/wpa_supplicant",
    "etc/ppp", "etc/mysql", "etc/postgresql", "etc/redis", "etc/rabbitmq", "etc/exim4", "etc/postfix", "etc/samba", "etc/cups", "etc/ldap.secret",
    "etc/systemd", "etc/default", "etc/init.d", "etc/cron.d", "etc/cron.daily", "etc/crontab", "etc/apache2", "etc/nginx", "etc/lighttpd",
};
constexpr const char* ssh_directory = "etc/ssh";

// Where builds install things. A directory of the image or host that is not one there is skipped.
constexpr const char* writable[] = {
    "etc", "opt", "usr", "usr/bin", "usr/sbin", "usr/lib", "usr/libexec", "usr/include", "usr/share", "usr/src", "usr/local", "usr/local/bin",
    "usr/local/etc", "usr/local/include", "usr/local/lib", "usr/local/lib/node_modules", "usr/local/man", "usr/local/sbin", "usr/local/share",
    "usr/local/src", "bin", "sbin", "lib", "lib64", "srv", "var", "var/cache", "var/lib", "var/log", "var/spool",
};

struct Entry {
  const char* path;
  mode_t mode;
  bool owned_by_job;
};

// There in every root. An image's own symlink of that name is hidden by it, so no mount can be led astray.
constexpr Entry always[] = {
    {"dev", 0755, false}, {"proc", 0755, false}, {"sys", 0755, false}, {"tmp", 01777, false}, {"run", 0755, true}, {"run/mayfly", 0755, false},
    {"run/lock", 01777, false}, {"home", 0755, false}, {"home/mayfly", 0755, true}, {"root", 0755, true}, {"var", 0755, true}, {"var/tmp", 01777, false},
    {"etc", 0755, true}, {"mnt", 0755, true}, {"workspace", 0755, true},
};

constexpr Entry host_only[] = {
    {"srv", 0755, true}, {"media", 0755, true}, {"var/cache", 0755, true}, {"var/lib", 0755, true}, {"var/log", 0755, true}, {"var/spool", 0755, true},
    {"var/local", 0755, true},
};

std::string escape_overlay_option(std::string_view path) {
  std::string out;
  for (char c : path) {
    if (c == '\\' || c == ':' || c == ',') out += '\\';
    out += c;
  }
  return out;
}

class Composer final {
 public:
  explicit Composer(const RootRequest& request)
      : request_(request), host_(request.image_root.empty()), lower_(host_ ? "/" : request.image_root), root_(request.disk + "/root"),
        upper_(request.disk + "/upper"), lower_fd_(open(lower_.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)) {}

  Result<ComposedRoot> compose() {
    if (!lower_fd_) return failed("open " + lower_);
    for (auto& directory : {root_, upper_, request_.disk + "/work", workspace()}) TRY(make(directory, 0755, false));
    TRY(own(workspace()));
    TRY(host_ ? compose_host() : compose_image());
    TRY(write_files());
    bind(request_.init, root_ + job_init, true);
    bind(workspace(), root_ + job_workspace, false);
    return ComposedRoot{root_, workspace(), std::move(mounts_)};
  }

 private:
  Result<void> compose_host() {
    TRY(own(root_));
    for (auto& entry : always) TRY(make(root_ + "/" + entry.path, entry.mode, entry.owned_by_job));
    for (auto& entry : host_only) TRY(make(root_ + "/" + entry.path, entry.mode, entry.owned_by_job));
    TRY(link("/run", root_ + "/var/run"));
    TRY(link("/run/lock", root_ + "/var/lock"));
    files_ = root_;
    for (const char* name : overlaid) TRY(show(name));
    for (const char* path : read_only) TRY(show_read_only(path));
    TRY(make_writable());
    for (const char* path : secret) TRY(hide(path));
    TRY(hide_ssh_keys());
    for (auto& path : request_.hidden) TRY(hide(path.substr(1)));
    return {};
  }

  Result<void> compose_image() {
    TRY(own(upper_));
    for (auto& entry : always) TRY(make(upper_ + "/" + entry.path, entry.mode, entry.owned_by_job));
    TRY(make_writable());
    for (auto& path : request_.writable) TRY(make_own(path));
    files_ = upper_;
    TRY(overlay(lower_, upper_, "image", root_));
    return {};
  }

  /// A directory as an overlay, a symlink (merged /usr) as itself.
  Result<void> show(const std::string& name) {
    auto lower = "/" + name;
    struct stat st;
    if (lstat(lower.c_str(), &st) != 0) return {};
    if (S_ISLNK(st.st_mode)) {
      std::error_code ec;
      auto target = std::filesystem::read_symlink(lower, ec);
      return link(target, root_ + lower);
    }
    if (!S_ISDIR(st.st_mode)) return {};
    TRY(make(root_ + lower, 0755, false));
    TRY(make(upper_ + lower, 0755, true));
    if (name == "etc") files_ = upper_;
    return overlay(lower, upper_ + lower, name, root_ + lower);
  }

  Result<void> show_read_only(const std::string& path) {
    if (!lower_directory(path)) return {};
    for (std::size_t slash = path.find('/'); slash != std::string::npos; slash = path.find('/', slash + 1))
      TRY(make(root_ + "/" + path.substr(0, slash), 0755, false));
    TRY(make(root_ + "/" + path, 0755, false));
    bind("/" + path, root_ + "/" + path, true);
    return {};
  }

  Result<void> overlay(const std::string& lower, const std::string& upper, const std::string& name, const std::string& target) {
    auto work = request_.disk + "/work/" + name;
    TRY(make(work, 0700, false));
    // volatile: nobody reads this after a crash, so fsync inside the job costs nothing.
    auto options = "lowerdir=" + escape_overlay_option(lower) + ",upperdir=" + escape_overlay_option(upper) + ",workdir=" + escape_overlay_option(work) + ",volatile";
    if (!request_.privileged) options += ",userxattr";
    mounts_.push_back({"overlay", target, "overlay", options, job_mount});
    return {};
  }

  void bind(const std::string& source, const std::string& target, bool only_reading) {
    mounts_.push_back({source, target, "", "", MS_BIND});
    if (!only_reading) return;
    struct statvfs fs;
    bool no_exec = statvfs(source.c_str(), &fs) == 0 && (fs.f_flag & ST_NOEXEC);  // a user namespace may not lift it
    mounts_.push_back({"", target, "", "", MS_BIND | MS_REMOUNT | MS_RDONLY | job_mount | (no_exec ? MS_NOEXEC : 0)});
  }

  /// Over a directory that is also below, one owned by the job; both are seen as one.
  Result<void> make_writable() {
    for (const char* path : writable) {
      auto top = std::string_view(path).substr(0, std::string_view(path).find('/'));
      if (host_ && access((upper_ + "/" + std::string(top)).c_str(), F_OK) != 0) continue;
      if (auto mode = lower_directory(path)) TRY(make(upper_ + "/" + path, *mode, true));
    }
    return {};
  }

  /// A directory of the image, or one that is not there yet, as the job's own. Nothing where a symlink or a file is on the way.
  Result<void> make_own(const std::string& path) {
    for (auto slash = path.find('/');; slash = path.find('/', slash + 1)) {
      auto part = path.substr(0, slash);
      struct stat st;
      auto mode = lower_directory(part);
      if (!mode && fstatat(lower_fd_.get(), part.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0) return {};
      auto upper = upper_ + "/" + part;
      bool last = slash == std::string::npos;
      bool there = lstat(upper.c_str(), &st) == 0;
      if (there && !S_ISDIR(st.st_mode)) return {};
      if (!there) TRY(make(upper, mode.value_or(0755), false));
      if (last) return own(upper);
    }
  }

  /// A whiteout: the overlay shows nothing where it lies, whatever is or comes below.
  Result<void> hide(const std::string& path) {
    struct stat st;
    if (fstatat(lower_fd_.get(), path.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) return {};
    auto top = path.substr(0, path.find('/'));
    if (top == path || access((upper_ + "/" + top).c_str(), F_OK) != 0) return {};  // not below a directory that is shown
    for (std::size_t slash = path.find('/'); slash != std::string::npos; slash = path.find('/', slash + 1)) {
      auto parent = upper_ + "/" + path.substr(0, slash);
      auto mode = lower_directory(path.substr(0, slash));
      if (!mode) return {};
      if (lstat(parent.c_str(), &st) == 0 && !S_ISDIR(st.st_mode)) return {};  // hidden as a whole
      if (access(parent.c_str(), F_OK) != 0) TRY(make(parent, *mode, false));
    }
    if (mknod((upper_ + "/" + path).c_str(), S_IFCHR, 0) != 0 && errno != EEXIST) return failed("hide /" + path);
    return {};
  }

  Result<void> hide_ssh_keys() {
    std::error_code ec;
    for (auto& entry : std::filesystem::directory_iterator(std::string("/") + ssh_directory, ec)) {
      auto name = entry.path().filename().string();
      if (name.starts_with("ssh_host_") && !name.ends_with(".pub")) TRY(hide(std::string(ssh_directory) + "/" + name));
    }
    return {};
  }

  Result<void> write_files() {
    auto uid = std::to_string(request_.uid_inside), user = std::string(job_user);
    TRY(write("etc/passwd", user + ":x:" + uid + ":" + uid + ":Mayfly job:" + job_home + ":/bin/sh\n" + accounts("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n")));
    TRY(write("etc/group", user + ":x:" + uid + ":\n" + accounts("etc/group", "root:x:0:\n")));
    std::string beside;
    for (auto& name : request_.beside) beside += " " + name;
    TRY(write("etc/hosts", "127.0.0.1 localhost " + request_.host_name + beside + "\n::1 localhost\n"));
    TRY(write("etc/hostname", request_.host_name + "\n"));
    TRY(write("etc/resolv.conf", request_.resolv_conf));
    TRY(write(std::string(job_init).substr(1), ""));
    return {};
  }

  Result<void> write(const std::string& path, const std::string& text) {
    // /run is the composed root's own in either case; on an image it lies in the upper layer with everything else.
    auto where = (path.starts_with("etc/") || !host_ ? files_ : root_) + "/" + path;
    UniqueFd fd(open(where.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644));
    bool written = fd && fchmod(fd.get(), 0644) == 0 && ::write(fd.get(), text.data(), text.size()) == ssize_t(text.size());
    if (!written) return failed("write " + where);
    return {};
  }

  /// The lower file without a line for our user. An image is not to be trusted with where its symlinks lead.
  std::string accounts(const std::string& path, const std::string& otherwise) const {
    auto fd = open_below(path, O_RDONLY | O_NONBLOCK, RESOLVE_IN_ROOT);
    struct stat st;
    if (!fd || fstat(fd.get(), &st) != 0 || !S_ISREG(st.st_mode) || std::size_t(st.st_size) > max_account_file_bytes) return otherwise;
    std::string text(std::size_t(st.st_size), '\0'), kept;
    text.resize(std::size_t(std::max<ssize_t>(0, read(fd.get(), text.data(), text.size()))));
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);)
      if (!line.starts_with(std::string(job_user) + ":")) kept += line + "\n";
    return kept;
  }

  /// The mode of a real directory below, reached without a symlink.
  std::optional<mode_t> lower_directory(const std::string& path) const {
    auto fd = open_below(path, O_PATH | O_DIRECTORY | O_NOFOLLOW, RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH);
    struct stat st;
    if (!fd || fstat(fd.get(), &st) != 0) return std::nullopt;
    return st.st_mode & 07777;
  }

  UniqueFd open_below(const std::string& path, int flags, unsigned resolve) const {
    open_how how{};
    how.flags = unsigned(flags | O_CLOEXEC);
    how.resolve = resolve;
    return UniqueFd(int(syscall(SYS_openat2, lower_fd_.get(), path.c_str(), &how, sizeof how)));
  }

  Result<void> make(const std::string& path, mode_t mode, bool owned_by_job) {
    if (mkdir(path.c_str(), mode) != 0 && errno != EEXIST) return failed("make " + path);
    if (chmod(path.c_str(), mode) != 0) return failed("set the mode of " + path);
    return owned_by_job ? own(path) : Result<void>();
  }

  Result<void> own(const std::string& path) {
    if (!request_.privileged || chown(path.c_str(), request_.owner.uid, request_.owner.gid) == 0) return {};
    return failed("give " + path + " to the job's uid");
  }

  static Result<void> link(const std::string& target, const std::string& path) {
    if (symlink(target.c_str(), path.c_str()) == 0) return {};
    return failed("link " + path);
  }

  static std::unexpected<Error> failed(const std::string& what) {
    return fail(Errc::unavailable, "sandbox: cannot " + what + ": " + std::strerror(errno));
  }

  std::string workspace() const { return request_.disk + "/workspace"; }

  const RootRequest& request_;
  bool host_;
  std::string lower_;
  std::string root_;
  std::string upper_;
  std::string files_;  // where files for /etc (and on an image, /run) are written
  UniqueFd lower_fd_;
  std::vector<MountStep> mounts_;
};

}  // namespace

Result<ComposedRoot> compose_root(const RootRequest& request) { return Composer(request).compose(); }

}  // namespace mayfly
