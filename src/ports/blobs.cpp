#include "ports/blobs.h"

#include <algorithm>

namespace mayfly {
namespace {

bool allowed(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
}

bool good_part(std::string_view s) { return s.size() <= max_blob_key_segment && std::ranges::all_of(s, allowed); }

bool good_segment(std::string_view s) { return good_part(s) && !s.empty() && s != "." && s != ".."; }

/// True if all before the last '/' are whole segments; leaves `rest` behind it.
bool take_folders(std::string_view& rest) {
  if (rest.size() > max_blob_key) return false;
  for (auto slash = rest.find('/'); slash != rest.npos; slash = rest.find('/')) {
    if (!good_segment(rest.substr(0, slash))) return false;
    rest.remove_prefix(slash + 1);
  }
  return true;
}

Result<void> verdict(bool good, std::string_view key) {
  if (good) return {};
  return fail(Errc::invalid, "not a blob's key: " + std::string(key.substr(0, 80)),
              "keys are like logs/0193a2f4/0: letters, digits, '.', '_', '-', with single '/' between");
}

}  // namespace

Result<void> check_blob_key(std::string_view key) {
  auto rest = key;
  return verdict(take_folders(rest) && good_segment(rest), key);
}

Result<void> check_blob_prefix(std::string_view prefix) {
  auto rest = prefix;
  return verdict(take_folders(rest) && good_part(rest), prefix);
}

}  // namespace mayfly
