#include "runner/sidecar/tar.h"

#include <archive.h>
#include <archive_entry.h>
#include <unistd.h>

#include <memory>

#include "runner/sidecar/tar_writer.h"

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

std::string why(archive* a) {
  auto* text = archive_error_string(a);
  return text ? text : "unknown error";
}

Result<void> pack_entry(TarWriter& to, const Tree& tree, const TreeEntry& what, std::vector<std::string>& left_out) {
  auto leave_out = [&]() -> Result<void> {
    left_out.push_back(what.path);
    return {};
  };
  if (S_ISDIR(what.info.st_mode)) return to.directory(what.path, what.info);
  if (S_ISLNK(what.info.st_mode)) {
    auto target = tree.read_link(what.path);
    if (!target || !link_stays_inside(what.path, *target)) return leave_out();
    return to.link(what.path, *target, what.info);
  }
  if (!S_ISREG(what.info.st_mode)) return leave_out();
  auto file = tree.open_file(what.path);
  if (!file) return leave_out();
  return to.file(what.path, file->get(), what.info);
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
  TarWriter to(fd);
  for (auto& entry : entries) TRY(pack_entry(to, tree, entry, left_out));
  return to.finish();
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
