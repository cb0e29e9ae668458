// A stored log from a disk that lies: an index and frames of any bytes; and any log, packed, is read again.
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "domain/logs/seekable.h"

namespace {

void require(bool held) {
  if (!held) std::abort();
}

void ask(const mayfly::LogIndex& index, std::int64_t a, std::int64_t b) {
  auto frames = index.frames_of({a, b});
  require(frames.stored.from >= 0 && frames.stored.from <= frames.stored.to && frames.begins >= 0);
  auto lines = index.find_lines(a, b);
  require(lines.bytes.from >= 0 && lines.bytes.from <= lines.bytes.to && lines.bytes.to <= index.size() && lines.skip >= 0);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mayfly;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  std::int64_t a = 0, b = 1;
  if (size >= 16) std::memcpy(&a, data, 8), std::memcpy(&b, data + 8, 8);
  if (auto index = LogIndex::decode(text)) {
    require(LogIndex::decode(index->encode()).value() == *index);
    ask(*index, a, b);
    ask(*index, index->lines(), 1);
  }
  if (auto log = unpack_frames(text, 1 << 20)) require(log->size() <= 1 << 20);

  SeekableWriter writer;
  auto object = writer.write(text.substr(0, size / 2)) + writer.write(text.substr(size / 2));
  object += writer.finish();
  auto stored = writer.index().frames_of({0, std::int64_t(size)}).stored;
  require(unpack_frames(std::string_view(object).substr(0, std::size_t(stored.to)), size).value() == text);
  ask(writer.index(), a, b);
  return 0;
}
