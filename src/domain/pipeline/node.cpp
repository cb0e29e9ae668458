#include <charconv>
#include <cmath>

#include "domain/pipeline/yaml.h"

namespace mayfly {
namespace {

bool is_one_of(std::string_view text, std::initializer_list<std::string_view> words) {
  for (auto word : words)
    if (text == word) return true;
  return false;
}

}  // namespace

bool YamlNode::is_null() const { return is_scalar() && plain && is_one_of(text, {"", "~", "null", "Null", "NULL"}); }

std::optional<bool> YamlNode::as_bool() const {
  if (!is_scalar() || !plain) return std::nullopt;
  if (is_one_of(text, {"true", "True", "TRUE"})) return true;
  if (is_one_of(text, {"false", "False", "FALSE"})) return false;
  return std::nullopt;
}

std::optional<std::int64_t> YamlNode::as_integer() const {
  if (!is_scalar() || !plain || text.empty()) return std::nullopt;
  std::string_view digits = text;
  int base = 10;
  if (digits.starts_with("0x")) base = 16, digits.remove_prefix(2);
  else if (digits.starts_with("0o")) base = 8, digits.remove_prefix(2);
  else if (digits.starts_with("+")) digits.remove_prefix(1);
  if (digits.empty() || digits[0] == '+' || (base != 10 && digits[0] == '-')) return std::nullopt;
  std::int64_t value = 0;
  auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
  if (error != std::errc{} || end != digits.data() + digits.size()) return std::nullopt;
  return value;
}

std::optional<double> YamlNode::as_number() const {
  if (auto integer = as_integer()) return double(*integer);
  if (!is_scalar() || !plain || text.empty()) return std::nullopt;
  std::string_view digits = text;
  if (digits[0] == '+') digits.remove_prefix(1);
  if (digits.empty() || digits.find_first_not_of("0123456789.eE+-") != digits.npos || digits[0] == '+') return std::nullopt;
  double value = 0;
  auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc{} || end != digits.data() + digits.size() || !std::isfinite(value)) return std::nullopt;
  return value;
}

const YamlNode* YamlNode::find(std::string_view key) const {
  for (auto& entry : entries)
    if (entry.key->text == key) return entry.value;
  return nullptr;
}

std::string_view YamlNode::describe() const {
  if (is_list()) return "a list";
  if (is_map()) return "a map";
  if (is_null()) return "empty";
  if (as_bool()) return "true or false";
  if (as_number()) return "a number";
  return "text";
}

}  // namespace mayfly
