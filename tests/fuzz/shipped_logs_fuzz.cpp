// Arbitrary bytes as shipped logs: what is read keeps its limits, becomes whole frames, and comes back from lines of ours.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "domain/logs/frame.h"
#include "domain/logs/shipped.h"

using namespace mayfly;

namespace {

void check(bool holds) {
  if (!holds) std::abort();
}

std::size_t text_bytes(std::string_view frames) {
  std::size_t bytes = 0;
  while (!frames.empty()) {
    auto decoded = decode_frame(frames);
    check(decoded && decoded->size > 0);
    bytes += decoded->frame.text.size();
    frames.remove_prefix(decoded->size);
  }
  return bytes;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view input(reinterpret_cast<const char*>(data), size);
  if (auto shipped = decode_shipped(input)) {
    std::size_t bytes = 0;
    for (auto& record : shipped->records) {
      check(record.offset >= 0 && record.text.size() <= max_shipped_text_bytes);
      bytes += record.text.size();
    }
    std::size_t framed = 0;
    for (auto& [attempt, frames] : shipped_frames(shipped->records)) framed += text_bytes(frames);
    check(framed == bytes);
  }
  // The same bytes as a log: each line of ours is a record once it says whose it is.
  std::string lines;
  append_shipped_lines(lines, 0, input);
  std::string bytes;
  for (std::string_view rest = lines; !rest.empty();) {
    auto line = rest.substr(0, rest.find('\n'));
    auto own = decode_shipped(R"({"attempt":"01890a5d-ac96-774b-bcce-b302099a8057",)" + std::string(line.substr(1)));
    check(own && own->records.size() == 1 && own->records[0].offset == std::int64_t(bytes.size()));
    bytes += own->records[0].text;
    rest.remove_prefix(line.size() + 1);
  }
  check(bytes == input);
  return 0;
}
