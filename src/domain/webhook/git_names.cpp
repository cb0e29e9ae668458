#include "domain/webhook/git_names.h"

#include <algorithm>

namespace mayfly {
namespace {

bool is_ref_component(std::string_view part) {
  return !part.empty() && !part.starts_with('.') && !part.ends_with(".lock");
}

}  // namespace

bool is_commit_sha(std::string_view text) {
  return (text.size() == 40 || text.size() == 64) &&
         std::ranges::all_of(text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

bool is_zero_sha(std::string_view text) {
  return is_commit_sha(text) && text.find_first_not_of('0') == text.npos;
}

bool is_ref_name(std::string_view text) {
  if (text.empty() || text.size() > max_ref_bytes || text == "@" || text.starts_with('-') || text.ends_with('.')) return false;
  if (text.contains("..") || text.contains("@{")) return false;
  for (unsigned char c : text)
    if (c <= ' ' || c == 0x7f || std::string_view("~^:?*[\\").contains(char(c))) return false;
  for (std::size_t at = 0; at <= text.size();) {
    auto end = std::min(text.find('/', at), text.size());
    if (!is_ref_component(text.substr(at, end - at))) return false;
    at = end + 1;
  }
  return true;
}

}  // namespace mayfly
