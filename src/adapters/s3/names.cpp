#include "adapters/s3/names.h"

#include "ports/blobs.h"

namespace mayfly::s3 {
namespace {

constexpr std::string_view folder_end = ".~/";
constexpr char name_end = '!';

}  // namespace

std::string name_prefix(std::string_view prefix) {
  std::string out;
  for (char c : prefix) {
    if (c == '/') out += folder_end;
    else out += c;
  }
  return out;
}

std::string object_name(std::string_view key) { return name_prefix(key) + name_end; }

std::optional<std::string> key_of(std::string_view name) {
  std::string key;
  for (auto rest = name; !rest.empty();) {
    bool folder = rest.starts_with(folder_end);
    key += folder ? '/' : rest[0];
    rest.remove_prefix(folder ? folder_end.size() : 1);
  }
  if (!key.empty()) key.pop_back();
  if (!check_blob_key(key) || object_name(key) != name) return std::nullopt;
  return key;
}

}  // namespace mayfly::s3
