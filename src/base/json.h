#pragma once
// JSON for Mayfly's .cpp files: Boost.JSON, compiled once in its own library. Keep this header out of other headers.

#include <boost/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace mayfly {

namespace json = boost::json;

/// Parses untrusted text: nesting at most 64 deep, whole input, UTF-8 checked. Errc::invalid says at which byte it went wrong.
Result<json::value> parse_json(std::string_view text);

// Look-ups in untrusted objects: absent and of another type are the same nothing.
const json::value* find(const json::value& v, std::string_view dotted_path);     // "repository.full_name"
std::optional<std::string> find_string(const json::value& v, std::string_view dotted_path);
std::optional<std::int64_t> find_int(const json::value& v, std::string_view dotted_path);
std::optional<bool> find_bool(const json::value& v, std::string_view dotted_path);

}  // namespace mayfly
