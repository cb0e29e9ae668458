#pragma once
// The two steps that Redis has to take as one. A script's name to Redis is the SHA-1 of its text.

#include <string>
#include <string_view>

namespace mayfly {

struct RedisScript {
  std::string_view text;
  std::string digest;  // SHA-1, hex
};

/// KEYS: the key. ARGV: sequence as 20 digits, value, life in ms. Answers 1 if it was set. A stored value begins with its sequence
/// as 20 digits that compare as text: Lua's numbers are no 64-bit integers. What stands there and does not begin so gives way.
const RedisScript& set_if_newer_script();

/// KEYS: the key. ARGV: burst, µs each, cost. Answers {admitted, retry after in µs, remaining}. The arithmetic is
/// domain/access/gcra.cpp's, under Redis' own time; microseconds since 1970 are exact in Lua's numbers until 2255.
const RedisScript& admit_script();

}  // namespace mayfly
