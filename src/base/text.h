#pragma once
// Text that others can hold: databases and JSON take UTF-8, and PostgreSQL no NUL. What comes from git, from job code and
// from webhooks may be anything.

#include <cstddef>
#include <string>
#include <string_view>

namespace mayfly {

/// The length in bytes of the well-formed UTF-8 character at the front of `text` (RFC 3629; table 3-7 of the Unicode
/// standard); 0 when there is none.
std::size_t character_bytes(std::string_view text);

/// Whether it is well-formed UTF-8 (RFC 3629: no surrogates, nothing overlong, at most U+10FFFF).
bool is_utf8(std::string_view text);

/// `text` with U+FFFD in place of every NUL and of every byte that is part of no well-formed character.
std::string clean_text(std::string text);

}  // namespace mayfly
