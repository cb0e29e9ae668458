#include "adapters/files/store.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <filesystem>

#include "adapters/files/tree.h"

namespace mayfly::files {
namespace {

/// Last in each file, in the byte order of the machines we run on.
struct Trailer {
  char magic[8] = {'m', 'a', 'y', 'f', 'l', 'y', '1', '\n'};
  std::int64_t size = 0;
  Sha256 sha256{};

  std::string_view bytes() const { return {reinterpret_cast<const char*>(this), sizeof *this}; }
};
static_assert(sizeof(Trailer) == 48 && std::endian::native == std::endian::little);

Result<void> write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    auto n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno_error(errno, "writing");
    bytes.remove_prefix(std::size_t(n));
  }
  return {};
}

/// Fewer bytes than asked only at the end of the file.
Result<std::size_t> read_at(int fd, char* into, std::size_t length, std::int64_t offset) {
  std::size_t done = 0;
  while (done < length) {
    auto n = ::pread(fd, into + done, length - done, offset + std::int64_t(done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno_error(errno, "reading");
    if (n == 0) break;
    done += std::size_t(n);
  }
  return done;
}

std::unexpected<Error> corrupt(std::string_view key, std::string_view why) {
  return fail(Errc::corrupt, "blob " + std::string(key) + ": " + std::string(why), "restore it from a backup, or remove it");
}

std::string parent(const std::string& path) { return path.substr(0, path.rfind('/', path.size() - 2) + 1); }

}  // namespace

TempFile::~TempFile() {
  if (fd_) ::unlink(path_.c_str());
}

Result<void> TempFile::append(std::string_view bytes) {
  TRY(write_all(fd_.get(), bytes));
  hash_.update(bytes);
  size_ += std::int64_t(bytes.size());
  return {};
}

Store::Store(std::string folder, FileBlobsOptions options)
    : options_(options), tree_(folder + "/blobs/"), temps_(folder + "/tmp/") {}

Result<std::unique_ptr<Store>> Store::open(std::string folder, FileBlobsOptions options) {
  std::unique_ptr<Store> store(new Store(folder, options));
  std::error_code ec;
  std::filesystem::create_directories(std::filesystem::path(folder).parent_path(), ec);
  for (auto& part : {folder + "/", store->tree_, store->temps_})
    if (::mkdir(part.c_str(), 0700) != 0 && errno != EEXIST) return errno_error(errno, "making " + part);
  for (std::filesystem::directory_iterator it(store->temps_, ec), end; !ec && it != end; it.increment(ec))
    if (::unlink(it->path().c_str()) != 0) return errno_error(errno, "removing " + it->path().string());
  if (ec) return errno_error(ec.value(), "reading " + store->temps_);
  TRY(store->sync_folder(folder + "/"));
  return store;
}

std::string Store::path(std::string_view key) const { return tree_ + path_of(key); }

Result<TempFile> Store::make_temp() {
  auto path = temps_ + std::to_string(++temps_made_);
  Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!fd) return errno_error(errno, "making " + path);
  return TempFile(std::move(fd), std::move(path));
}

Result<BlobInfo> Store::place(TempFile temp, std::string_view key) {
  Trailer trailer;
  trailer.size = temp.size_;
  trailer.sha256 = temp.hash_.digest();
  TRY(write_all(temp.fd_.get(), trailer.bytes()));
  if (options_.fsync && ::fdatasync(temp.fd_.get()) != 0) return errno_error(errno, "fsync");

  auto to = path(key);
  TRY_ASSIGN(bool placed, link(temp.path_, to));
  // Also when another came first: its folder may not have reached the disk yet.
  TRY(sync_folder(parent(to)));
  if (placed) return BlobInfo{std::string(key), trailer.size, trailer.sha256};
  TRY_ASSIGN(auto there, open_blob(key));
  return std::move(there.info);
}

/// False when `to` exists.
Result<bool> Store::link(const std::string& from, const std::string& to) {
  // A folder may be removed, being empty, between the making of it and this; whoever removed it made progress.
  constexpr int tries = 100;
  for (int i = 0; i < tries; ++i) {
    if (::link(from.c_str(), to.c_str()) == 0) return true;
    if (errno == EEXIST) return false;
    if (errno != ENOENT) return errno_error(errno, "linking " + to);
    TRY(make_folders(to));
  }
  return fail(Errc::unavailable, "blobs: the folder of " + to + " keeps vanishing");
}

Result<void> Store::make_folders(const std::string& file) {
  for (auto slash = file.find('/', tree_.size()); slash != file.npos; slash = file.find('/', slash + 1)) {
    auto folder = file.substr(0, slash + 1);
    if (::mkdir(folder.c_str(), 0700) == 0) {
      TRY(sync_folder(parent(folder)));
    } else if (errno == ENOENT) {
      return {};  // one above was removed meanwhile: the next try makes it
    } else if (errno != EEXIST) {
      return errno_error(errno, "making " + folder);
    }
  }
  return {};
}

Result<void> Store::sync_folder(const std::string& folder) const {
  if (!options_.fsync) return {};
  Fd fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  // Removed with all that was in it: nothing is left to be kept.
  if (!fd && errno == ENOENT) return {};
  if (!fd || ::fsync(fd.get()) != 0) return errno_error(errno, "fsync of " + folder);
  return {};
}

Result<Store::Opened> Store::open_blob(std::string_view key) const {
  Fd fd(::open(path(key).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd) return errno_error(errno, "blob " + std::string(key));
  struct stat st;
  if (::fstat(fd.get(), &st) != 0) return errno_error(errno, "blob " + std::string(key));
  Trailer trailer;
  auto size = st.st_size - std::int64_t(sizeof trailer);
  if (size < 0) return corrupt(key, "its end is missing");
  TRY_ASSIGN(auto n, read_at(fd.get(), reinterpret_cast<char*>(&trailer), sizeof trailer, size));
  if (n != sizeof trailer || std::memcmp(trailer.magic, Trailer{}.magic, sizeof trailer.magic) != 0 || trailer.size != size)
    return corrupt(key, "its end is not what was written");
  return Opened{std::move(fd), {std::string(key), size, trailer.sha256}};
}

Result<std::string> Store::read(std::string_view key, std::int64_t offset, std::int64_t length) const {
  if (offset < 0 || length < 0) return fail(Errc::invalid, "blob " + std::string(key) + ": a negative range");
  TRY_ASSIGN(auto blob, open_blob(key));
  length = std::min(length, std::max<std::int64_t>(blob.info.size - offset, 0));
  if (length > max_blob_read)
    return fail(Errc::too_large, "blob " + std::string(key) + ": " + std::to_string(length) + " bytes at once; " +
                                     std::to_string(max_blob_read) + " are the limit",
                "read it in ranges");
  std::string out(std::size_t(length), '\0');
  TRY_ASSIGN(auto n, read_at(blob.fd.get(), out.data(), out.size(), offset));
  if (n != out.size()) return corrupt(key, "it became shorter while it was read");
  if (length == blob.info.size && sha256(out) != blob.info.sha256) return corrupt(key, "its bytes are not those that were written");
  return out;
}

Result<std::optional<BlobInfo>> Store::head(std::string_view key) const {
  auto blob = open_blob(key);
  if (blob) return std::move(blob->info);
  if (blob.error().code == Errc::not_found) return std::nullopt;
  return std::unexpected(std::move(blob).error());
}

Result<std::vector<BlobInfo>> Store::list(std::string_view prefix, std::string after, std::size_t limit) const {
  std::vector<BlobInfo> out;
  while (out.size() < limit) {
    TRY_ASSIGN(auto keys, list_keys(tree_, prefix, after, limit - out.size()));
    if (keys.empty()) break;
    for (auto& key : keys) {
      auto info = head(key);
      if (!info && info.error().code != Errc::corrupt) return std::unexpected(std::move(info).error());
      if (!info) out.push_back({key, 0, {}});
      else if (*info) out.push_back(**std::move(info));  // else removed meanwhile
    }
    after = std::move(keys.back());
  }
  return out;
}

Result<void> Store::remove(std::string_view key) {
  auto file = path(key);
  if (::unlink(file.c_str()) != 0 && errno != ENOENT) return errno_error(errno, "removing blob " + std::string(key));
  for (auto folder = parent(file); folder.size() > tree_.size() && ::rmdir(folder.c_str()) == 0;) folder = parent(folder);
  return {};
}

}  // namespace mayfly::files
