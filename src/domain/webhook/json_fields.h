#pragma once
// Takes a few known fields out of a large JSON text in one pass, without building the tree: webhook bodies are up to 25 MB,
// hostile until their signature is checked, and only some thirty of their fields matter here.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace mayfly {

struct FieldSpec {
  std::string_view path;      // "pull_request.head.sha"; never leads through an array
  std::size_t max_bytes = 0;  // of a text; the rest is dropped at a character boundary and `cut` is set
};

struct FieldValue {
  enum class Type { absent, null, boolean, integer, text, object, other };
  Type type = Type::absent;
  std::int64_t integer = 0;   // of a boolean: 0 or 1
  std::string text{};
  bool cut = false;

  bool operator==(const FieldValue&) const = default;
};

/// The values of `wanted`, in its order. The text must be one JSON object, UTF-8, nested at most 64 deep. Of a key that
/// occurs twice the first counts. Errc::invalid says at which byte it went wrong.
Result<std::vector<FieldValue>> read_fields(std::string_view text, std::span<const FieldSpec> wanted);

/// The same, but stops reading when the object at `last` ends: what follows it is not looked at.
Result<std::vector<FieldValue>> read_fields_until(std::string_view text, std::span<const FieldSpec> wanted, std::string_view last);

}  // namespace mayfly
