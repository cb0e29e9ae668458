#include "domain/logs/secret_forms.h"

#include <algorithm>
#include <cstdint>

namespace mayfly {
namespace {

constexpr std::string_view base64_std = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::string_view base64_url = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
constexpr std::string_view lower_hex = "0123456789abcdef";
constexpr std::string_view upper_hex = "0123456789ABCDEF";

struct Base64Form {
  std::string inside;  // the characters that depend on nothing but the secret
  std::string at_end;  // the same and the last character, when the secret ends the text
};

/// `before` bytes stand before the secret in its group of three.
Base64Form base64_of(std::string_view secret, std::size_t before, std::string_view alphabet) {
  std::size_t first_char = (8 * before + 5) / 6;  // characters before it hold bits of other bytes
  std::size_t bits = 8 * (before + secret.size());
  auto bit = [&](std::size_t at) {
    if (at >= bits) return 0;
    return static_cast<std::uint8_t>(secret[at / 8 - before]) >> (7 - at % 8) & 1;
  };
  Base64Form form;
  for (std::size_t c = first_char; 6 * c < bits; ++c) {
    unsigned value = 0;
    for (std::size_t i = 0; i < 6; ++i) value = value << 1 | static_cast<unsigned>(bit(6 * c + i));
    form.at_end += alphabet[value];
    if (6 * c + 6 <= bits) form.inside += alphabet[value];
  }
  return form;
}

std::string hex_of(std::string_view s, std::string_view digits) {
  std::string out;
  for (unsigned char c : s) {
    out += digits[c >> 4];
    out += digits[c & 15];
  }
  return out;
}

bool unreserved(unsigned char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' || c == '~';
}

std::string percent_of(std::string_view s, std::string_view digits, bool plus_for_space) {
  std::string out;
  for (unsigned char c : s) {
    if (unreserved(c)) {
      out += static_cast<char>(c);
    } else if (c == ' ' && plus_for_space) {
      out += '+';
    } else {
      out += '%';
      out += digits[c >> 4];
      out += digits[c & 15];
    }
  }
  return out;
}

void append_u16(std::string& out, unsigned unit, std::string_view digits) {
  out += "\\u";
  for (int shift = 12; shift >= 0; shift -= 4) out += digits[unit >> shift & 15];
}

/// The code point at s[i] and how many bytes it takes; a byte that is not UTF-8 stands for itself.
std::pair<unsigned, std::size_t> code_point(std::string_view s, std::size_t i) {
  auto c = static_cast<unsigned char>(s[i]);
  std::size_t size = c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : c >= 0xC0 ? 2 : 1;
  if (size == 1 || i + size > s.size()) return {c, 1};
  unsigned value = c & (0xFF >> (size + 1));
  for (std::size_t k = 1; k < size; ++k) value = value << 6 | (static_cast<unsigned char>(s[i + k]) & 0x3F);
  return {value, size};
}

struct JsonStyle {
  bool ascii = false;        // everything else as \u
  bool escape_slash = false;
  std::string_view digits = lower_hex;
};

std::string json_of(std::string_view s, JsonStyle style) {
  std::string out;
  for (std::size_t i = 0; i < s.size();) {
    auto [value, size] = code_point(s, i);
    constexpr std::string_view plain = "\"\\\b\f\n\r\t", letters = "\"\\bfnrt";
    if (auto at = size == 1 ? plain.find(s[i]) : plain.npos; at != plain.npos) {
      out += '\\';
      out += letters[at];
    } else if (s[i] == '/' && style.escape_slash) {
      out += "\\/";
    } else if (value < 0x20 || value == 0x7F || (style.ascii && value > 0x7F && value < 0x10000)) {
      append_u16(out, value, style.digits);
    } else if (style.ascii && value >= 0x10000) {
      append_u16(out, 0xD800 + ((value - 0x10000) >> 10), style.digits);
      append_u16(out, 0xDC00 + ((value - 0x10000) & 0x3FF), style.digits);
    } else {
      out += s.substr(i, size);
    }
    i += size;
  }
  return out;
}

/// "-----" in a key file is nobody's secret, and would shred a log.
bool says_nothing(std::string_view line) { return line.find_first_not_of(line.front()) == line.npos; }

std::vector<std::string_view> lines_of(std::string_view secret) {
  std::vector<std::string_view> lines;
  if (secret.find('\n') == secret.npos) return lines;
  while (!secret.empty()) {
    auto end = secret.find('\n');
    auto line = secret.substr(0, end);
    secret.remove_prefix(end == secret.npos ? secret.size() : end + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.size() >= min_masked_bytes && !says_nothing(line)) lines.push_back(line);
  }
  return lines;
}

}  // namespace

std::vector<std::string> secret_forms(std::string_view secret) {
  if (secret.size() < min_masked_bytes) return {};
  std::vector<std::string> forms{std::string(secret)};
  for (auto alphabet : {base64_std, base64_url}) {
    for (std::size_t before : {0u, 1u, 2u}) {
      auto form = base64_of(secret, before, alphabet);
      forms.push_back(std::move(form.inside));
      forms.push_back(std::move(form.at_end));
    }
  }
  for (auto digits : {lower_hex, upper_hex}) {
    forms.push_back(hex_of(secret, digits));
    forms.push_back(percent_of(secret, digits, false));
    forms.push_back(percent_of(secret, digits, true));
    for (bool ascii : {false, true})
      for (bool slash : {false, true}) forms.push_back(json_of(secret, {ascii, slash, digits}));
  }
  for (auto line : lines_of(secret)) forms.emplace_back(line);
  std::erase_if(forms, [](auto& form) { return form.size() < min_masked_bytes; });
  std::ranges::sort(forms);
  forms.erase(std::unique(forms.begin(), forms.end()), forms.end());
  return forms;
}

}  // namespace mayfly
