#include "domain/logs/frame.h"

#include <array>
#include <bit>
#include <cassert>
#include <cstring>

#include "domain/logs/crc32c.h"

namespace mayfly {
namespace {

static_assert(std::endian::native == std::endian::little, "frames are written in the machine's byte order");

struct Header {
  char magic[2];
  std::uint8_t version;
  std::uint8_t stream;
  std::uint16_t step;
  std::uint16_t zero;
  std::uint32_t length;
  std::uint32_t crc;
  std::uint64_t offset;
  std::int64_t time;
};
static_assert(sizeof(Header) == frame_header_bytes);

constexpr char magic[2] = {'M', 'F'};
constexpr std::uint8_t version = 1;

std::unexpected<Error> corrupt(std::string_view what) {
  return fail(Errc::corrupt, "log frame: " + std::string(what));
}

Result<void> check(const Header& h) {
  if (h.version != version) return corrupt("unknown version " + std::to_string(h.version));
  if (h.stream < 1 || h.stream > 3) return corrupt("unknown stream " + std::to_string(h.stream));
  if (h.zero != 0) return corrupt("reserved bytes are not zero");
  if (h.length > max_frame_text_bytes) return corrupt("length " + std::to_string(h.length) + " is over the limit");
  if (std::bit_cast<std::int64_t>(h.offset) < 0) return corrupt("negative offset");
  return {};
}

}  // namespace

void append_frame(std::string& out, const LogFrame& frame) {
  assert(frame.text.size() <= max_frame_text_bytes);
  Header h{{magic[0], magic[1]},
           version,
           static_cast<std::uint8_t>(frame.stream),
           frame.step,
           0,
           static_cast<std::uint32_t>(frame.text.size()),
           crc32c(frame.text),
           static_cast<std::uint64_t>(frame.offset),
           to_micros(frame.time)};
  out.append(reinterpret_cast<const char*>(&h), sizeof h);
  out.append(frame.text);
}

Result<DecodedFrame> decode_frame(std::string_view bytes) {
  if (!bytes.empty() && bytes.substr(0, 2) != std::string_view(magic, std::min<std::size_t>(2, bytes.size())))
    return corrupt("no frame begins here");
  if (bytes.size() < frame_header_bytes) return DecodedFrame{};
  Header h;
  std::memcpy(&h, bytes.data(), sizeof h);
  TRY(check(h));
  if (bytes.size() < frame_header_bytes + h.length) return DecodedFrame{};
  auto text = bytes.substr(frame_header_bytes, h.length);
  if (crc32c(text) != h.crc) return corrupt("checksum does not match");
  return DecodedFrame{{std::bit_cast<std::int64_t>(h.offset), from_micros(h.time), h.step, static_cast<LogStream>(h.stream), text},
                      frame_header_bytes + h.length};
}

std::size_t frame_size(std::string_view bytes) {
  Header h;
  if (bytes.size() < sizeof h) return 0;
  std::memcpy(&h, bytes.data(), sizeof h);
  if (std::string_view(h.magic, sizeof h.magic) != std::string_view(magic, sizeof magic) || !check(h)) return 0;
  auto size = frame_header_bytes + h.length;
  return size <= bytes.size() ? size : 0;
}

}  // namespace mayfly
