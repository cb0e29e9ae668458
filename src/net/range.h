#pragma once
// Byte ranges (RFC 9110 §14): how a browser or a runner asks for a part of a log or an artifact.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace mayfly::http {

enum class RangeKind {
  ignored,        // no header, another unit, malformed, or several ranges: send the whole, 200
  satisfiable,    // send [first, last], 206
  unsatisfiable,  // 416
};

struct Range {
  RangeKind kind = RangeKind::ignored;
  std::uint64_t first = 0;
  std::uint64_t last = 0;  // inclusive

  std::uint64_t length() const { return last - first + 1; }
  bool operator==(const Range&) const = default;
};

/// Reads "bytes=0-99", "bytes=100-", "bytes=-50" against a representation of `size` bytes.
Range parse_range(std::optional<std::string_view> header, std::uint64_t size);

std::string content_range(const Range& range, std::uint64_t size);   // "bytes 0-99/1234"
std::string unsatisfied_content_range(std::uint64_t size);           // "bytes */1234"

}  // namespace mayfly::http
