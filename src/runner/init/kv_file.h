#pragma once
// What a step writes to $CI_OUTPUT and $CI_ENV: `KEY=value` lines, and values of several lines between `KEY<<EOF` and `EOF`.

#include <map>
#include <string>
#include <string_view>

#include "base/result.h"

namespace mayfly {

/// A key is a letter or '_', then letters, digits, '_' (and '-' or '.' where `dashes`); a later line wins over an earlier one.
/// Empty lines are skipped, a '\r' at a line's end is dropped. Errc::invalid names the line; values must be UTF-8 without NUL.
/// Errc::too_large over max_step_output_bytes.
Result<std::map<std::string, std::string>> parse_key_values(std::string_view text, bool dashes = false);

}  // namespace mayfly
