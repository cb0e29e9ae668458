#include "runner/sidecar/tar.h"

#include <archive.h>
#include <archive_entry.h>
#include <unistd.h>

#include <memory>

namespace mayfly {
namespace {

constexpr std::size_t block_bytes = 256 << 10;

template <auto Free>
struct Freed {
  template <class T>
  void operator()(T* thing) const {
    Free(thing);
  }
};
using Reader = std::unique_ptr<archive, Freed<archive_read_free>>;
using Writer = std::unique_ptr<archive, Freed<archive_write_free>>;
using Entry = std::unique_ptr<archive_entry, Freed<archive_entry_free>>;

std::string why(archive* a) {
  auto* text = archive_error_string(a);
  return text ? text : "unknown error";
}

std::unexpected<Error> cannot_write(archive* a) { return fail(Errc::unavailable, "cannot write the archive of outputs: " + why(a)); }

Result<void> copy_in(archive* to, int from, std::int64_t size, const std::string& path) {
  std::vector<char> block(block_bytes);
  for (std::int64_t left = size; left > 0;) {
    auto n = ::read(from, block.data(), std::min<std::size_t>(block.size(), static_cast<std::size_t>(left)));
    if (n <= 0) return fail(Errc::unavailable, "cannot read all of '" + path + "'");
    if (archive_write_data(to, block.data(), static_cast<std::size_t>(n)) != n) return cannot_write(to);
    left -= n;
  }
  return {};
}

Result<void> pack_entry(archive* to, const Tree& tree, const TreeEntry& what, std::vector<std::string>& left_out) {
  Entry entry(archive_entry_new());
  archive_entry_set_pathname(entry.get(), what.path.c_str());
  archive_entry_set_mode(entry.get(), what.info.st_mode & (S_IFMT | 0777));
  archive_entry_set_mtime(entry.get(), what.info.st_mtim.tv_sec, what.info.st_mtim.tv_nsec);
  auto write_header = [&]() -> Result<void> {
    if (archive_write_header(to, entry.get()) < ARCHIVE_WARN) return cannot_write(to);
    return {};
  };
  if (S_ISDIR(what.info.st_mode)) return write_header();
  if (S_ISLNK(what.info.st_mode)) {
    auto target = tree.read_link(what.path);
    if (!target || !link_stays_inside(what.path, *target)) return left_out.push_back(what.path), Result<void>{};
    archive_entry_set_symlink(entry.get(), target->c_str());
    return write_header();
  }
  auto file = S_ISREG(what.info.st_mode) ? tree.open_file(what.path) : fail(Errc::forbidden, "no plain file");
  if (!file) return left_out.push_back(what.path), Result<void>{};
  archive_entry_set_size(entry.get(), what.info.st_size);
  TRY(write_header());
  return copy_in(to, file->get(), what.info.st_size, what.path);
}

Result<void> copy_out(archive* from, int to, std::int64_t& left, const std::string& path) {
  std::vector<char> block(block_bytes);
  for (;;) {
    auto n = archive_read_data(from, block.data(), block.size());
    if (n == 0) return {};
    if (n < 0) return fail(Errc::corrupt, "the outputs cannot be unpacked: " + why(from));
    left -= n;
    if (left < 0) return fail(Errc::too_large, "the outputs are over the limit of " + std::to_string(max_artifact_bytes) + " bytes");
    for (ssize_t at = 0; at < n;) {
      auto written = ::write(to, block.data() + at, static_cast<std::size_t>(n - at));
      if (written <= 0) return fail(Errc::too_large, "there is no room to unpack '" + path + "'");
      at += written;
    }
  }
}

Result<void> unpack_entry(archive* from, archive_entry* entry, const Tree& tree, std::int64_t& left) {
  auto* name = archive_entry_pathname(entry);
  TRY_ASSIGN(auto path, clean_path(name ? name : ""));
  if (archive_entry_hardlink(entry)) return fail(Errc::forbidden, "the outputs hold a hard link: '" + path + "'");
  switch (archive_entry_filetype(entry)) {
    case AE_IFDIR: return tree.make_directory(path, archive_entry_perm(entry) | 0700);
    case AE_IFLNK: {
      auto* target = archive_entry_symlink(entry);
      return tree.make_link(path, target ? target : "");
    }
    case AE_IFREG: break;
    default: return fail(Errc::forbidden, "the outputs hold what is neither file, directory nor link: '" + path + "'");
  }
  TRY_ASSIGN(auto file, tree.create_file(path, archive_entry_perm(entry)));
  TRY(copy_out(from, file.get(), left, path));
  timespec times[] = {{0, UTIME_OMIT}, {archive_entry_mtime(entry), archive_entry_mtime_nsec(entry)}};
  ::futimens(file.get(), times);
  return {};
}

}  // namespace

Result<void> pack(const Tree& tree, const std::vector<TreeEntry>& entries, int fd, std::vector<std::string>& left_out) {
  std::int64_t total = 0;
  for (auto& entry : entries) total += S_ISREG(entry.info.st_mode) ? entry.info.st_size : 0;
  if (total > max_artifact_bytes)
    return fail(Errc::too_large, "the outputs are " + std::to_string(total) + " bytes, over the limit of " + std::to_string(max_artifact_bytes));
  Writer to(archive_write_new());
  archive_write_set_format_pax_restricted(to.get());
  archive_write_set_bytes_in_last_block(to.get(), 1);
  if (archive_write_open_fd(to.get(), fd) != ARCHIVE_OK) return cannot_write(to.get());
  for (auto& entry : entries) TRY(pack_entry(to.get(), tree, entry, left_out));
  if (archive_write_close(to.get()) != ARCHIVE_OK) return cannot_write(to.get());
  return {};
}

Result<void> unpack(int fd, const Tree& tree) {
  Reader from(archive_read_new());
  archive_read_support_format_tar(from.get());
  archive_read_support_format_empty(from.get());
  if (archive_read_open_fd(from.get(), fd, block_bytes) != ARCHIVE_OK) return fail(Errc::corrupt, "the outputs are no tar: " + why(from.get()));
  std::int64_t left = max_artifact_bytes;
  for (std::size_t entries = 0;; ++entries) {
    archive_entry* entry = nullptr;
    int got = archive_read_next_header(from.get(), &entry);
    if (got == ARCHIVE_EOF) return {};
    if (got < ARCHIVE_WARN) return fail(Errc::corrupt, "the outputs are no tar: " + why(from.get()));
    if (entries >= max_tree_entries) return fail(Errc::too_large, "the outputs hold too many files");
    TRY(unpack_entry(from.get(), entry, tree, left));
  }
}

}  // namespace mayfly
