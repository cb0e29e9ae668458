// Any secrets, any text, cut anywhere: the streaming masker says what the naive one says.
// Input: lines of secrets, an empty line, then the text; the text is cut by the values of its own bytes.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "domain/logs/masker.h"
#include "domain/logs/naive_mask.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view input(reinterpret_cast<const char*>(data), size);
  std::vector<std::string> secrets;
  for (;;) {
    auto end = input.find('\n');
    auto line = input.substr(0, end);
    input.remove_prefix(end == input.npos ? input.size() : end + 1);
    if (line.empty()) break;
    secrets.emplace_back(line);
  }
  auto patterns = mayfly::MaskPatterns::of_literals(secrets);
  mayfly::Masker masker(patterns);
  std::string out;
  for (auto rest = input; !rest.empty();) {
    auto piece = rest.substr(0, 1 + static_cast<std::uint8_t>(rest[0]) % 7);
    masker.feed(piece, out);
    rest.remove_prefix(piece.size());
  }
  masker.finish(out);
  if (out != mayfly::naive_mask(secrets, input)) std::abort();
  return 0;
}
