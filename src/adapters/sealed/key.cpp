#include "adapters/sealed/key.h"

#include <fcntl.h>
#include <sodium.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace mayfly {
namespace {

static_assert(SealingKey::bytes == crypto_aead_xchacha20poly1305_ietf_KEYBYTES);

struct Fd {
  int fd;
  ~Fd() {
    if (fd >= 0) ::close(fd);
  }
};

std::unexpected<Error> os_error(const std::string& doing, const std::string& file) {
  return fail(Errc::unavailable, "sealing key " + file + ": " + doing + ": " + std::generic_category().message(errno));
}

bool sync_folder_of(const std::string& file) {
  auto slash = file.rfind('/');
  Fd folder{::open(slash == file.npos ? "." : file.substr(0, slash + 1).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  return folder.fd >= 0 && ::fsync(folder.fd) == 0;
}

}  // namespace

void SealingKey::Free::operator()(std::uint8_t* p) const { sodium_free(p); }

Result<SealingKey> SealingKey::empty() {
  if (sodium_init() < 0) return fail(Errc::internal, "libsodium cannot be used on this machine");
  auto* memory = static_cast<std::uint8_t*>(sodium_malloc(bytes));
  if (!memory) return fail(Errc::unavailable, "no memory for the sealing key");
  return SealingKey(memory);
}

Result<SealingKey> SealingKey::load(const std::string& file) {
  TRY_ASSIGN(auto key, empty());
  Fd in{::open(file.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC)};
  if (in.fd < 0 && errno == ENOENT) return fail(Errc::not_found, "sealing key " + file + " does not exist");
  struct stat st;
  if (in.fd < 0 || ::fstat(in.fd, &st) != 0) return os_error("open", file);
  if (!S_ISREG(st.st_mode)) return fail(Errc::corrupt, "sealing key " + file + " is not a file");
  if (st.st_mode & 077)
    return fail(Errc::forbidden, "sealing key " + file + " can be read by other users", "chmod 600 " + file);
  if (st.st_uid != ::geteuid())
    return fail(Errc::forbidden, "sealing key " + file + " belongs to another user", "run as its owner, or chown it");
  if (st.st_size != off_t(bytes) || ::pread(in.fd, key.span().data(), bytes, 0) != ssize_t(bytes))
    return fail(Errc::corrupt,
                "sealing key " + file + " has " + std::to_string(st.st_size) + " bytes where " + std::to_string(bytes) +
                    " make a key",
                "restore it from a backup; without it the stored secrets cannot be read");
  return key;
}

// Written aside and linked: a crash leaves a whole key or none, and of two processes one makes it.
Result<void> SealingKey::make(const std::string& file, Entropy& entropy) {
  TRY_ASSIGN(auto key, empty());
  entropy.fill(key.span());
  auto aside = file + "." + std::to_string(::getpid());
  ::unlink(aside.c_str());
  Fd out{::open(aside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600)};
  if (out.fd < 0) return os_error("make", file);
  bool written = ::write(out.fd, key.span().data(), bytes) == ssize_t(bytes) && ::fsync(out.fd) == 0 &&
                 (::link(aside.c_str(), file.c_str()) == 0 || errno == EEXIST);
  auto why = errno;
  ::unlink(aside.c_str());
  errno = why;
  if (!written || !sync_folder_of(file)) return os_error("make", file);
  return {};
}

Result<SealingKey> SealingKey::load_or_make(const std::string& file, Entropy& entropy) {
  auto key = load(file);
  if (key || key.error().code != Errc::not_found) return key;
  TRY(make(file, entropy));
  return load(file);
}

}  // namespace mayfly
