#include "runner/sandbox/confined.h"

#include <unistd.h>

#include <filesystem>

#include "runner/sandbox/uids.h"

namespace mayfly {

std::vector<std::string> confined(const std::string& place, bool network, const std::vector<std::string>& words) {
  namespace fs = std::filesystem;
  std::vector<std::string> out = {"bwrap", "--ro-bind", "/usr", "/usr"};
  auto add = [&](std::initializer_list<std::string> more) { out.insert(out.end(), more); };
  std::error_code ec;
  for (std::string name : {"bin", "sbin", "lib", "lib32", "lib64"}) {
    if (fs::is_symlink("/" + name, ec)) add({"--symlink", fs::read_symlink("/" + name, ec), "/" + name});
    else if (fs::is_directory("/" + name, ec)) add({"--ro-bind", "/" + name, "/" + name});
  }
  add({"--perms", "0755", "--dir", "/etc"});
  for (std::string path : {"/etc/ssl", "/etc/ca-certificates", "/etc/pki", "/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf"})
    add({"--ro-bind-try", path, path});   // umoci wants to see the last ones too
  add({"--dev", "/dev", "--proc", "/proc", "--perms", "1777", "--tmpfs", "/tmp", "--bind", place, "/place", "--chdir", "/place", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--new-session", "--die-with-parent"});
  if (!network) add({"--unshare-net"});
  if (geteuid() == 0) {
    auto uid = std::to_string(image_uid);
    add({"--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID", "--", "setpriv", "--reuid", uid, "--regid", uid, "--clear-groups", "--no-new-privs", "--inh-caps=-all"});
  } else {
    add({"--unshare-user", "--"});
  }
  out.insert(out.end(), words.begin(), words.end());
  return out;
}

}  // namespace mayfly
