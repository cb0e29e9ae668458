#pragma once
// The text of YAML scalars (YAML 1.2, 7.3 and 8.1) from their source, for the styles libfyaml 0.7.12 reads wrongly:
// quotes in a row within single quotes, escaped line ends within double quotes, indented lines in folded blocks.

#include <optional>
#include <string>
#include <string_view>

namespace mayfly {

/// `source` is what stands between the quotes.
std::string single_quoted_text(std::string_view source);
/// Escapes are known to be well-formed.
std::string double_quoted_text(std::string_view source);

/// `header` is the line with the `>`, `source` the lines below it. nullopt if the header gives an indentation.
std::optional<std::string> folded_text(std::string_view header, std::string_view source);

}  // namespace mayfly
