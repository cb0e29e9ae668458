#include "adapters/git/utf8.h"

#include <cstdint>

namespace mayfly {
namespace {

// Length of the well-formed character at the start (Unicode 15, table 3-7), 0 if there is none.
std::size_t character_length(std::string_view s) {
  auto byte = [&](std::size_t i) { return i < s.size() ? std::uint8_t(s[i]) : std::uint8_t(0); };
  auto follows = [&](std::size_t i) { return (byte(i) & 0xc0) == 0x80; };
  auto first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xc2 && first <= 0xdf) return follows(1) ? 2 : 0;
  if (first >= 0xe0 && first <= 0xef) {
    bool fits = first == 0xe0 ? byte(1) >= 0xa0 : first == 0xed ? byte(1) < 0xa0 : true;
    return fits && follows(1) && follows(2) ? 3 : 0;
  }
  if (first >= 0xf0 && first <= 0xf4) {
    bool fits = first == 0xf0 ? byte(1) >= 0x90 : first == 0xf4 ? byte(1) < 0x90 : true;
    return fits && follows(1) && follows(2) && follows(3) ? 4 : 0;
  }
  return 0;
}

}  // namespace

std::string to_utf8(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size());
  while (!bytes.empty()) {
    auto n = character_length(bytes);
    if (n == 0) {
      out += "\ufffd";
      bytes.remove_prefix(1);
    } else {
      out += bytes.substr(0, n);
      bytes.remove_prefix(n);
    }
  }
  return out;
}

}  // namespace mayfly
