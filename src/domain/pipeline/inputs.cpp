#include <algorithm>
#include <charconv>
#include <cmath>

#include "domain/pipeline/pipeline.h"
#include "domain/pipeline/suggest.h"

namespace mayfly {
namespace {

bool is_number(std::string_view text) {
  double value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, std::chars_format::fixed);
  return error == std::errc{} && end == text.data() + text.size() && std::isfinite(value);
}

}  // namespace

std::string wrong_input(const InputDef& input, std::string_view value) {
  auto given = ", not '" + std::string(value.substr(0, 64)) + "'";
  if (input.type == "boolean" && value != "true" && value != "false") return "must be true or false" + given;
  if (input.type == "number" && !is_number(value)) return "must be a number" + given;
  if (input.type == "choice" && std::ranges::find(input.options, value) == input.options.end()) {
    std::vector<std::string_view> words(input.options.begin(), input.options.end());
    return "must be " + one_of(words) + given;
  }
  return {};
}

}  // namespace mayfly
