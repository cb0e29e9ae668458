#pragma once
// How log bytes travel from mayfly-init to the log store. A byte of an attempt's log is named by its offset, given once
// by init; whoever handles frames twice ends up with the same log. The text in a frame is masked already.
//
//   frame = magic 'MF' | u8 version=1 | u8 stream (1 stdout, 2 stderr, 3 mayfly itself) | u16 step | u16 zero
//         | u32 length | u32 crc32c of the text | u64 offset | i64 time in µs | text           (little endian, 32 + length)

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/time.h"

namespace mayfly {

inline constexpr std::size_t frame_header_bytes = 32;
inline constexpr std::size_t max_frame_text_bytes = 64 << 10;

enum class LogStream : std::uint8_t { out = 1, err = 2, mayfly = 3 };

struct LogFrame {
  std::int64_t offset = 0;
  Time time{};
  std::uint16_t step = 0;
  LogStream stream = LogStream::out;
  std::string_view text;         // into the bytes it was decoded from
};

/// Appends the encoded frame to `out`. Text over max_frame_text_bytes is a bug.
void append_frame(std::string& out, const LogFrame& frame);

struct DecodedFrame {
  LogFrame frame;
  std::size_t size = 0;          // bytes it took; 0: more bytes are needed
};

/// Reads the frame at the start of `bytes`. Errc::corrupt when it cannot be one (magic, version, length, checksum).
Result<DecodedFrame> decode_frame(std::string_view bytes);

/// How many bytes the frame at the start of `bytes` takes; its checksum is not looked at. 0: it is not all there, or none.
std::size_t frame_size(std::string_view bytes);

}  // namespace mayfly
