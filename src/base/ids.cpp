#include "base/ids.h"

#include <algorithm>

namespace mayfly {
namespace {
constexpr char hex[] = "0123456789abcdef";
constexpr bool dash_at(std::size_t i) { return i == 8 || i == 13 || i == 18 || i == 23; }

int nibble(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}
}  // namespace

std::string to_string(const Uuid& id) {
  std::string out;
  out.reserve(36);
  for (auto byte : id.bytes) {
    if (dash_at(out.size())) out += '-';
    out += hex[byte >> 4];
    out += hex[byte & 15];
  }
  return out;
}

Result<Uuid> parse_uuid(std::string_view text) {
  auto bad = [&] { return fail(Errc::invalid, "'" + std::string(text.substr(0, 64)) + "' is not an id", "ids look like 0193a2f4-…-…"); };
  if (text.size() != 36) return bad();
  Uuid id;
  std::size_t digit = 0;
  for (std::size_t i = 0; i < 36; ++i) {
    if (dash_at(i)) {
      if (text[i] != '-') return bad();
      continue;
    }
    int n = nibble(text[i]);
    if (n < 0) return bad();
    id.bytes[digit / 2] = std::uint8_t(id.bytes[digit / 2] << 4 | n);
    ++digit;
  }
  return id;
}

Uuid uuid_v7(Time at, std::span<const std::uint8_t, 10> random) {
  Uuid id;
  auto ms = std::uint64_t(to_micros(at)) / 1000;
  for (int i = 0; i < 6; ++i) id.bytes[std::size_t(i)] = std::uint8_t(ms >> (40 - 8 * i));
  std::ranges::copy(random, id.bytes.begin() + 6);
  id.bytes[6] = std::uint8_t(0x70 | (id.bytes[6] & 0x0f));
  id.bytes[8] = std::uint8_t(0x80 | (id.bytes[8] & 0x3f));
  return id;
}

}  // namespace mayfly
