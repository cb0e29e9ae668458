#pragma once
// RESP2, what Redis speaks (https://redis.io/docs/reference/protocol-spec). Ours rather than hiredis 0.14's, whose async API
// ends the process by an assertion on a reply it does not expect, looks names up on the loop's thread, and has neither time
// limits nor limits of size.

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace mayfly {

struct RespValue {
  enum class Kind { text, error, integer, bulk, array, null };

  Kind kind = Kind::null;
  std::string text = {};             // text, error, bulk
  std::int64_t integer = 0;
  std::vector<RespValue> items = {};  // array

  bool operator==(const RespValue&) const = default;
};

struct RespLimits {
  std::size_t max_line_bytes = 64 * 1024;
  std::size_t max_value_bytes = 64 << 20;  // of all the texts of one value
  std::size_t max_items = 64 * 1024;       // in one value, at any depth
  std::size_t max_depth = 4;               // arrays in arrays
};

/// Reads values in any split. After an error the stream is of no use any more.
class RespReader final {
 public:
  explicit RespReader(RespLimits limits = {}) : limits_(limits) {}

  void feed(std::string_view bytes);
  /// The next whole value; nothing until more is fed. Errc::corrupt for what is not RESP2, Errc::too_large past a limit.
  Result<std::optional<RespValue>> next();

 private:
  struct Open {
    RespValue array;
    std::size_t missing;
  };

  Result<std::optional<std::string_view>> take_line();
  Result<bool> take_part(std::optional<RespValue>& whole);
  Result<bool> take_bulk(std::optional<RespValue>& whole);
  Result<void> begin_bulk(std::int64_t length, std::optional<RespValue>& whole);
  Result<void> begin_array(std::int64_t length, std::optional<RespValue>& whole);
  Result<void> count(std::size_t bytes, std::size_t items);
  void complete(RespValue value, std::optional<RespValue>& whole);

  RespLimits limits_;
  std::string buffer_;
  std::size_t at_ = 0;                     // what lies before it has been read
  std::size_t searched_ = 0;               // from at_: no line ends there
  std::optional<std::size_t> bulk_;        // the length of the bulk being read
  std::vector<Open> open_;
  std::size_t bytes_ = 0, items_ = 0;      // of the value being read
};

/// A command as Redis takes it: an array of bulks.
std::string resp_command(std::initializer_list<std::string_view> words);
std::string resp_command(const std::vector<std::string>& words);

/// The wire form of a value: what RespReader reads.
std::string to_resp(const RespValue& value);

}  // namespace mayfly
