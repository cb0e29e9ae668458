#include "net/range.h"

#include <algorithm>
#include <charconv>

#include "net/http.h"

namespace mayfly::http {
namespace {

/// Digits only; a number past 2^64 counts as the largest, since any size ends before it.
std::optional<std::uint64_t> parse_position(std::string_view text) {
  if (text.empty() || !std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; })) return std::nullopt;
  std::uint64_t value = 0;
  auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
  return ec == std::errc::result_out_of_range ? UINT64_MAX : value;
}

Range suffix_range(std::uint64_t length, std::uint64_t size) {
  if (length == 0 || size == 0) return {RangeKind::unsatisfiable};
  return {RangeKind::satisfiable, size - std::min(length, size), size - 1};
}

}  // namespace

Range parse_range(std::optional<std::string_view> header, std::uint64_t size) {
  constexpr std::string_view kUnit = "bytes=";
  if (!header || !equal_ignoring_case(header->substr(0, kUnit.size()), kUnit)) return {};
  auto spec = header->substr(kUnit.size());
  auto dash = spec.find('-');
  if (dash == spec.npos) return {};
  auto last = parse_position(spec.substr(dash + 1));
  if (dash == 0) return last ? suffix_range(*last, size) : Range{};
  auto first = parse_position(spec.substr(0, dash));
  bool open_ended = dash + 1 == spec.size();
  if (!first || (!last && !open_ended) || (last && *last < *first)) return {};
  if (*first >= size) return {RangeKind::unsatisfiable};
  return {RangeKind::satisfiable, *first, std::min(last.value_or(UINT64_MAX), size - 1)};
}

std::string content_range(const Range& range, std::uint64_t size) {
  return "bytes " + std::to_string(range.first) + "-" + std::to_string(range.last) + "/" + std::to_string(size);
}

std::string unsatisfied_content_range(std::uint64_t size) { return "bytes */" + std::to_string(size); }

}  // namespace mayfly::http
