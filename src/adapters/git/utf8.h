#pragma once
// Git stores names and messages as whatever bytes people typed; the rest of Mayfly speaks UTF-8.

#include <string>
#include <string_view>

namespace mayfly {

/// The text with every byte that is no part of a UTF-8 character replaced by U+FFFD.
std::string to_utf8(std::string_view bytes);

}  // namespace mayfly
