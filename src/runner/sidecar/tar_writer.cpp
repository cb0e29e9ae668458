#include "runner/sidecar/tar_writer.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace mayfly {
namespace {

constexpr std::size_t block_bytes = 512;
constexpr std::size_t buffer_bytes = 256 << 10;

struct Ustar {
  char name[100];
  char mode[8];
  char uid[8];
  char gid[8];
  char size[12];
  char mtime[12];
  char checksum[8];
  char type;
  char target[100];
  char magic[6];
  char version[2];
  char user[32];
  char group[32];
  char device_major[8];
  char device_minor[8];
  char prefix[155];
  char unused[12];
};
static_assert(sizeof(Ustar) == block_bytes);

template <std::size_t N>
void octal(char (&field)[N], std::uint64_t value) {
  for (std::size_t i = N - 1; i-- > 0; value >>= 3) field[i] = static_cast<char>('0' + (value & 7));
}

template <std::size_t N>
bool fits(std::uint64_t value, const char (&)[N]) {
  return value < std::uint64_t(1) << (3 * (N - 1));
}

/// "27 path=some/long/path" and a line feed: the length counts itself.
std::string pax_record(std::string_view key, std::string_view value) {
  auto rest = key.size() + value.size() + 3;
  auto length = rest + 1;
  while (std::to_string(length).size() + rest != length) ++length;
  return std::to_string(length) + " " + std::string(key) + "=" + std::string(value) + "\n";
}

std::string padding(std::uint64_t size) { return std::string((block_bytes - size % block_bytes) % block_bytes, '\0'); }

}  // namespace

struct TarWriter::Entry {
  std::string_view path;
  char type = '0';
  std::string_view target = {};
  std::uint64_t size = 0;
  unsigned mode = 0644;
  std::int64_t mtime = 0;
};

Result<void> TarWriter::header(const Entry& entry) {
  Ustar h{};
  std::string pax;
  if (entry.path.size() > sizeof h.name) pax += pax_record("path", entry.path);
  if (entry.target.size() > sizeof h.target) pax += pax_record("linkpath", entry.target);
  if (!fits(entry.size, h.size)) pax += pax_record("size", std::to_string(entry.size));
  if (!pax.empty()) {
    TRY(header({.path = "PaxHeader", .type = 'x', .size = pax.size()}));
    TRY(write(pax + padding(pax.size())));
  }
  entry.path.substr(0, sizeof h.name).copy(h.name, sizeof h.name);
  entry.target.substr(0, sizeof h.target).copy(h.target, sizeof h.target);
  octal(h.mode, entry.mode & 0777);
  octal(h.uid, 0);
  octal(h.gid, 0);
  octal(h.size, fits(entry.size, h.size) ? entry.size : 0);
  octal(h.mtime, static_cast<std::uint64_t>(std::clamp<std::int64_t>(entry.mtime, 0, 077777777777)));
  h.type = entry.type;
  std::memcpy(h.magic, "ustar", 6);
  std::memcpy(h.version, "00", 2);
  std::memset(h.checksum, ' ', sizeof h.checksum);
  std::uint64_t sum = 0;
  for (auto* at = reinterpret_cast<const unsigned char*>(&h); at != reinterpret_cast<const unsigned char*>(&h + 1); ++at) sum += *at;
  char digits[7] = {};
  octal(digits, sum);
  std::memcpy(h.checksum, digits, sizeof digits);
  return write({reinterpret_cast<const char*>(&h), sizeof h});
}

Result<void> TarWriter::directory(const std::string& path, const struct stat& info) {
  return header({.path = path, .type = '5', .mode = info.st_mode, .mtime = info.st_mtim.tv_sec});
}

Result<void> TarWriter::link(const std::string& path, const std::string& target, const struct stat& info) {
  return header({.path = path, .type = '2', .target = target, .mode = 0777, .mtime = info.st_mtim.tv_sec});
}

Result<void> TarWriter::file(const std::string& path, int content, const struct stat& info) {
  auto size = static_cast<std::uint64_t>(info.st_size);
  TRY(header({.path = path, .type = '0', .size = size, .mode = info.st_mode, .mtime = info.st_mtim.tv_sec}));
  std::string block(buffer_bytes, '\0');
  for (auto left = size; left > 0;) {
    auto n = ::read(content, block.data(), std::min<std::uint64_t>(block.size(), left));
    if (n <= 0) return fail(Errc::unavailable, "cannot read all of '" + path + "'");
    TRY(write({block.data(), static_cast<std::size_t>(n)}));
    left -= static_cast<std::uint64_t>(n);
  }
  return write(padding(size));
}

Result<void> TarWriter::finish() {
  TRY(write(std::string(2 * block_bytes, '\0')));
  return flush();
}

Result<void> TarWriter::write(std::string_view bytes) {
  buffer_ += bytes;
  if (buffer_.size() < buffer_bytes) return {};
  return flush();
}

Result<void> TarWriter::flush() {
  for (std::string_view left = buffer_; !left.empty();) {
    auto n = ::write(fd_, left.data(), left.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return fail(errno == ENOSPC ? Errc::too_large : Errc::unavailable, std::string("cannot write the archive of outputs: ") + std::strerror(errno));
    left.remove_prefix(static_cast<std::size_t>(n));
  }
  buffer_.clear();
  return {};
}

}  // namespace mayfly
