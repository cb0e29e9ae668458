#include "adapters/files/tree.h"

#include <algorithm>
#include <filesystem>

#include "adapters/files/fd.h"

namespace mayfly::files {
namespace {

constexpr std::size_t spread_from = 32;  // characters: a UUID has 36, a SHA-256 64
constexpr char spread_mark = '+';
constexpr char blob_mark = '=';

/// Where a name lies within its folder: directly, or in "xy+/".
std::string spread(std::string_view name) {
  if (name.size() < spread_from) return {};
  return std::string(name.substr(name.size() - 2)) + spread_mark + '/';
}

std::string folder_of(std::string_view segment) { return spread(segment) + std::string(segment) + '/'; }

struct Entry {
  std::string key;     // of a blob, or what all keys of a folder begin with: it ends in '/'
  std::string folder;  // of a folder: its path
  auto operator<=>(const Entry&) const = default;
};

class Listing final {
 public:
  Listing(std::string_view prefix, std::string_view after, std::size_t limit) : prefix_(prefix), after_(after), limit_(limit) {}

  Result<void> walk(const std::string& folder, const std::string& key) {
    std::vector<Entry> entries;
    TRY(read(folder, key, entries));
    std::ranges::sort(entries);
    for (auto& entry : entries) {
      if (found.size() >= limit_) break;
      if (entry.folder.empty()) found.push_back(std::move(entry.key));
      else TRY(walk(entry.folder, entry.key));
    }
    return {};
  }

  std::vector<std::string> found;

 private:
  Result<void> read(const std::string& folder, const std::string& key, std::vector<Entry>& into) const {
    std::error_code ec;
    for (std::filesystem::directory_iterator it(folder, ec), end; !ec && it != end; it.increment(ec)) {
      auto name = it->path().filename().string();
      if (name.back() == spread_mark) {
        TRY(read(folder + name + '/', key, into));
      } else if (name.front() == blob_mark) {
        add({key + name.substr(1), {}}, into);
      } else {
        add({key + name + '/', folder + name + '/'}, into);
      }
    }
    if (ec && ec != std::errc::no_such_file_or_directory) return errno_error(ec.value(), "listing " + folder);
    return {};
  }

  void add(Entry entry, std::vector<Entry>& into) const {
    bool is_folder = !entry.folder.empty();
    bool matches = entry.key.starts_with(prefix_) || (is_folder && prefix_.starts_with(entry.key));
    bool later = entry.key > after_ || (is_folder && after_.starts_with(entry.key));
    if (matches && later) into.push_back(std::move(entry));
  }

  std::string_view prefix_, after_;
  std::size_t limit_;
};

}  // namespace

std::string path_of(std::string_view key) {
  std::string path;
  for (auto slash = key.find('/'); slash != key.npos; slash = key.find('/')) {
    path += folder_of(key.substr(0, slash));
    key.remove_prefix(slash + 1);
  }
  return path + spread(key) + blob_mark + std::string(key);
}

Result<std::vector<std::string>> list_keys(const std::string& root, std::string_view prefix, std::string_view after,
                                           std::size_t limit) {
  // Whole segments of the prefix lead straight to their folder.
  std::string folder = root, key;
  for (auto rest = prefix;;) {
    auto slash = rest.find('/');
    if (slash == rest.npos) break;
    folder += folder_of(rest.substr(0, slash));
    key += std::string(rest.substr(0, slash)) + '/';
    rest.remove_prefix(slash + 1);
  }
  Listing listing(prefix, after, limit);
  TRY(listing.walk(folder, key));
  return std::move(listing.found);
}

}  // namespace mayfly::files
