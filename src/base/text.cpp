#include "base/text.h"

#include <cstdint>

namespace mayfly {
namespace {

constexpr std::string_view replacement = "\xEF\xBF\xBD";

/// Where the first byte stands that clean_text() would replace.
std::size_t first_unclean(std::string_view text, bool nul_is_clean) {
  for (std::size_t at = 0; at < text.size();) {
    auto length = character_bytes(text.substr(at));
    if (length == 0 || (text[at] == '\0' && !nul_is_clean)) return at;
    at += length;
  }
  return text.size();
}

}  // namespace

std::size_t character_bytes(std::string_view text) {
  auto byte = [&](std::size_t i) { return i < text.size() ? static_cast<std::uint8_t>(text[i]) : 0; };
  auto continues = [&](std::size_t i, int least = 0x80, int most = 0xBF) { return byte(i) >= least && byte(i) <= most; };
  auto first = byte(0);
  if (text.empty()) return 0;
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return continues(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) return continues(1, first == 0xE0 ? 0xA0 : 0x80, first == 0xED ? 0x9F : 0xBF) && continues(2) ? 3 : 0;
  if (first >= 0xF0 && first <= 0xF4)
    return continues(1, first == 0xF0 ? 0x90 : 0x80, first == 0xF4 ? 0x8F : 0xBF) && continues(2) && continues(3) ? 4 : 0;
  return 0;
}

bool is_utf8(std::string_view text) { return first_unclean(text, true) == text.size(); }

std::string clean_text(std::string text) {
  auto at = first_unclean(text, false);
  if (at == text.size()) return text;
  auto out = text.substr(0, at);
  for (std::string_view rest = std::string_view(text).substr(at); !rest.empty();) {
    auto length = character_bytes(rest);
    if (length == 0 || rest[0] == '\0') out += replacement;
    else out += rest.substr(0, length);
    rest.remove_prefix(length == 0 ? 1 : length);
  }
  return out;
}

}  // namespace mayfly
