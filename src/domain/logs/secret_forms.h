#pragma once
// The ways a secret turns up in a log: as it is, line by line, and in the encodings people and programs put it through.

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace mayfly {

inline constexpr std::size_t min_masked_bytes = 4;  // shorter ones would make a log unreadable, and hide nothing

/// Every form of `secret` that must not be seen, each at least min_masked_bytes long, none twice. Forms: the value; base64 at
/// the three alignments it can have inside a longer text, in both alphabets of RFC 4648; percent-encoding (RFC 3986) in both
/// cases and as a form field; JSON strings (RFC 8259) with and without \u and \/ escapes; hex in both cases; and each line of
/// a value of several lines. Empty when the secret is too short.
std::vector<std::string> secret_forms(std::string_view secret);

}  // namespace mayfly
