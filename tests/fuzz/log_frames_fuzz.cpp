// Arbitrary bytes as log frames: decoding never reads outside of them, and what decodes encodes to the same bytes.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "domain/logs/frame.h"

using mayfly::append_frame;
using mayfly::decode_frame;

namespace {

/// All frames at the start of `bytes`; returns how many bytes they took.
std::size_t read_stream(std::string_view bytes) {
  std::size_t at = 0;
  for (;;) {
    auto got = decode_frame(bytes.substr(at));
    if (!got || got->size == 0) return at;
    std::string again;
    append_frame(again, got->frame);
    if (again != bytes.substr(at, got->size)) std::abort();
    at += got->size;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view input(reinterpret_cast<const char*>(data), size);
  read_stream(input);
  // The same bytes as text, so that deep paths are reached: two good frames, then whatever the input is.
  std::string stream;
  auto text = input.substr(0, mayfly::max_frame_text_bytes);
  for (auto part : {text, text.substr(0, text.size() / 2)})
    append_frame(stream, {.offset = 0, .time = {}, .step = 1, .stream = mayfly::LogStream::out, .text = part});
  auto good = stream.size();
  stream += input;
  if (read_stream(stream) < good) std::abort();
  // Cut anywhere a frame is never corrupt, only unfinished.
  auto cut = decode_frame(std::string_view(stream).substr(0, size % (mayfly::frame_header_bytes + text.size())));
  if (!cut || cut->size != 0) std::abort();
  return 0;
}
