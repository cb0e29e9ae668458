#include "domain/pipeline/forms.h"

#include <algorithm>
#include <charconv>

#include "domain/pipeline/glob.h"

namespace mayfly {
namespace {

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

constexpr std::size_t max_service_command_bytes = 4096;
constexpr std::size_t max_image_bytes = 512;

struct Unit {
  std::string_view suffix;
  std::int64_t bytes;
};
// Longer ones first.
constexpr Unit units[] = {
    {"Ki", 1ll << 10}, {"Mi", 1ll << 20}, {"Gi", 1ll << 30}, {"Ti", 1ll << 40}, {"K", 1'000},
    {"M", 1'000'000},  {"G", 1'000'000'000}, {"T", 1'000'000'000'000}, {"", 1},
};

/// Digits with at most one dot among them, times `scale`; nothing if that is no whole number or has more than 15 digits.
std::optional<std::int64_t> scaled(std::string_view digits, std::int64_t scale) {
  if (digits.empty() || digits.size() > 15 || digits.find_first_not_of("0123456789.") != digits.npos || digits[0] == '.' || digits.back() == '.')
    return std::nullopt;
  double value = 0;
  auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, std::chars_format::fixed);
  if (error != std::errc{} || end != digits.data() + digits.size() || value * double(scale) > 9e18) return std::nullopt;
  return std::int64_t(value * double(scale) + 0.5);
}

}  // namespace

bool is_name(std::string_view text) {
  return !text.empty() && text.size() <= 64 && is_letter(text[0]) && std::ranges::all_of(text, [](char c) { return is_letter(c) || is_digit(c) || c == '-'; });
}

bool is_host_name(std::string_view text) {
  auto plain = [](char c) { return (c >= 'a' && c <= 'z') || is_digit(c) || c == '-'; };
  return !text.empty() && text.size() <= 63 && !is_digit(text[0]) && text[0] != '-' && text.back() != '-' && std::ranges::all_of(text, plain);
}

bool is_service_command(std::string_view text) { return !text.empty() && text.size() <= max_service_command_bytes; }

bool is_image(std::string_view image) {
  return !image.empty() && image.size() <= max_image_bytes && std::ranges::none_of(image, [](unsigned char c) { return c <= ' ' || c == 0x7f; });
}

bool is_filter(std::string_view text) { return !text.empty() && text != "!" && text.size() <= max_glob_bytes; }

bool is_shell(std::string_view text) {
  if (text == "sh" || text == "bash") return true;
  auto plain = [](char c) { return is_letter(c) || is_digit(c) || c == '-' || c == '.' || c == '/' || c == '+'; };
  return text.size() > 1 && text.size() <= 256 && text[0] == '/' && std::ranges::all_of(text, plain);
}

bool is_registry_image(std::string_view image) {
  return image != "host" && !image.starts_with("oci:") && !image.starts_with("/") && !image.starts_with("./") && !image.starts_with("../");
}

bool has_own_command(std::string_view image) { return image.starts_with("oci:") || is_registry_image(image); }

bool is_cron(std::string_view text) {
  int fields = 0;
  for (std::size_t at = 0; at < text.size(); ++fields) {
    auto end = std::min(text.find(' ', at), text.size());
    auto field = text.substr(at, end - at);
    auto plain = [](char c) { return is_letter(c) || is_digit(c) || c == '*' || c == '/' || c == ',' || c == '-'; };
    if (field.empty() || !std::ranges::all_of(field, plain)) return false;
    at = end + (end < text.size() ? 1 : 0);
    if (end + 1 == text.size()) return false;
  }
  return fields == 5;
}

bool is_time_zone(std::string_view text) {
  auto plain = [](char c) { return is_letter(c) || is_digit(c) || c == '-' || c == '+' || c == '/'; };
  return !text.empty() && text.size() <= 64 && is_letter(text[0]) && std::ranges::all_of(text, plain);
}

bool is_environment_name(std::string_view text) {
  return !text.empty() && text.size() <= 128 && is_letter(text[0]) && std::ranges::all_of(text, [](char c) { return is_letter(c) || is_digit(c); });
}

bool is_label(std::string_view text) {
  auto plain = [](char c) { return is_letter(c) || is_digit(c) || c == '-' || c == '.' || c == '/' || c == ':' || c == '='; };
  return !text.empty() && text.size() <= 64 && std::ranges::all_of(text, plain);
}

bool is_relative_path(std::string_view text) {
  if (text.empty() || text.size() > max_glob_bytes || text[0] == '/') return false;
  for (std::size_t at = 0; at <= text.size();) {
    auto end = std::min(text.find('/', at), text.size());
    if (text.substr(at, end - at) == "..") return false;
    at = end + 1;
  }
  return true;
}

std::optional<std::int64_t> read_integer(const YamlNode& node) {
  if (auto integer = node.as_integer()) return integer;
  auto number = node.as_number();
  if (!number || *number != double(std::int64_t(*number))) return std::nullopt;
  return std::int64_t(*number);
}

std::optional<Duration> read_duration(const YamlNode& node) {
  if (auto seconds = read_integer(node)) {
    if (*seconds < 0 || *seconds > 1'000'000'000) return std::nullopt;
    return Duration{*seconds * 1'000'000};
  }
  auto duration = parse_duration(node.text);
  return duration ? std::optional(*duration) : std::nullopt;
}

std::optional<std::int64_t> read_size(const YamlNode& node) {
  if (auto bytes = read_integer(node)) return bytes;
  for (auto& unit : units)
    if (std::string_view(node.text).ends_with(unit.suffix))
      return scaled(std::string_view(node.text).substr(0, node.text.size() - unit.suffix.size()), unit.bytes);
  return std::nullopt;
}

std::optional<std::int64_t> read_cpu(const YamlNode& node) {
  if (auto cores = node.as_number()) {
    if (*cores < 0 || *cores > 1e9) return std::nullopt;
    return std::int64_t(*cores * 1000 + 0.5);
  }
  std::string_view text = node.text;
  if (text.ends_with('m')) return text.contains('.') ? std::nullopt : scaled(text.substr(0, text.size() - 1), 1);
  return scaled(text, 1000);
}

}  // namespace mayfly
