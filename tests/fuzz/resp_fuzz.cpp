// What Redis says: any bytes, in any split, are the same values or the same error, and a value read is written as it was read.

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "adapters/redis/resp.h"

namespace {

using mayfly::RespReader;

void require(bool held) {
  if (!held) std::abort();
}

constexpr mayfly::RespLimits limits{.max_line_bytes = 64, .max_value_bytes = 256, .max_items = 32, .max_depth = 3};

/// The wire forms of the values, and the error's code at the end.
std::vector<std::string> read(std::string_view text, std::size_t piece) {
  RespReader reader(limits);
  std::vector<std::string> out;
  for (std::size_t at = 0; at < text.size(); at += piece) {
    reader.feed(text.substr(at, piece));
    for (;;) {
      auto value = reader.next();
      if (!value) {
        out.emplace_back(to_string(value.error().code));
        return out;
      }
      if (!*value) break;
      out.push_back(mayfly::to_resp(**value));
    }
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  std::string_view text(reinterpret_cast<const char*>(data + 1), size - 1);
  auto whole = read(text, text.size() + 1);
  require(read(text, 1 + data[0] % 16) == whole);
  std::string written;
  for (auto& value : whole) written += value;
  if (!whole.empty() && (whole.back() == "corrupt" || whole.back() == "too_large")) return 0;
  require(read(written, written.size() + 1) == whole);
  return 0;
}
