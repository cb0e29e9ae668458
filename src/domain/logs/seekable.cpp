#include "domain/logs/seekable.h"

#include <zstd.h>

#include <algorithm>
#include <cassert>
#include <numeric>
#include <optional>

namespace mayfly {
namespace {

constexpr int level = 3;
constexpr std::uint32_t skippable_magic = 0x184D2A5E;
constexpr std::uint32_t seek_table_magic = 0x8F92EAB1;
constexpr char index_version = 1;

std::int64_t line_ends(std::string_view text) { return std::ranges::count(text, '\n'); }

void put_u32(std::string& out, std::uint32_t n) {
  for (int i = 0; i < 4; ++i) out += char(n >> (8 * i));
}

void put_number(std::string& out, std::uint64_t n) {
  for (; n >= 0x80; n >>= 7) out += char(n | 0x80);
  out += char(n);
}

std::optional<std::uint64_t> take_number(std::string_view& in) {
  std::uint64_t n = 0;
  for (int shift = 0; shift < 63; shift += 7) {
    if (in.empty()) return std::nullopt;
    auto byte = std::uint8_t(in[0]);
    in.remove_prefix(1);
    n |= std::uint64_t(byte & 0x7f) << shift;
    if (byte < 0x80) return n;
  }
  return std::nullopt;
}

std::int64_t pieces(std::int64_t size, std::size_t piece) { return (size + std::int64_t(piece) - 1) / std::int64_t(piece); }

std::unexpected<Error> damaged(std::string_view what) { return fail(Errc::corrupt, "a stored log: " + std::string(what)); }

}  // namespace

LogIndex::Frames LogIndex::frames_of(ByteRange log) const {
  auto from = std::clamp<std::int64_t>(log.from, 0, size_), to = std::clamp<std::int64_t>(log.to, from, size_);
  auto first = from / std::int64_t(seekable_frame_bytes), last = from == to ? first : pieces(to, seekable_frame_bytes);
  auto at = std::accumulate(frames_.begin(), frames_.begin() + first, std::int64_t(0));
  auto end = std::accumulate(frames_.begin() + first, frames_.begin() + last, at);
  return {{at, end}, first * std::int64_t(seekable_frame_bytes)};
}

LineRange LogIndex::find_lines(std::int64_t first, std::int64_t count) const {
  if (first < 0 || count <= 0 || first > lines_) return {{size_, size_}, 0};
  auto end_of = first > lines_ - count ? lines_ + 1 : first + count;   // no sum of what callers say
  LineRange out;
  std::int64_t before = 0;
  std::size_t block = 0;
  // Line n begins after line end n: at the earliest in the block that has it.
  for (; block < blocks_.size() && before + blocks_[block] < first; ++block) before += blocks_[block];
  out.bytes.from = std::min<std::int64_t>(std::int64_t(block * line_block_bytes), size_);
  out.skip = first - before;
  for (; block < blocks_.size() && before + blocks_[block] < end_of; ++block) before += blocks_[block];
  out.bytes.to = std::min<std::int64_t>(std::int64_t((block + 1) * line_block_bytes), size_);
  return out;
}

std::string LogIndex::encode() const {
  std::string out(1, index_version);
  put_number(out, std::uint64_t(size_));
  for (auto stored : frames_) put_number(out, stored);
  for (auto ends : blocks_) put_number(out, ends);
  return out;
}

Result<LogIndex> LogIndex::decode(std::string_view in) {
  if (!in.starts_with(index_version)) return damaged("its index is of another version");
  in.remove_prefix(1);
  LogIndex index;
  auto size = take_number(in);
  if (!size || *size > std::uint64_t(max_indexed_bytes)) return damaged("its index is no index");
  index.size_ = std::int64_t(*size);
  auto frames = pieces(index.size_, seekable_frame_bytes), blocks = pieces(index.size_, line_block_bytes);
  if (std::int64_t(in.size()) < frames + blocks) return damaged("its index is cut short");
  for (auto i = frames; i > 0; --i) {
    auto n = take_number(in);
    if (!n || *n > 2 * seekable_frame_bytes) return damaged("its index has an impossible frame");
    index.frames_.push_back(std::uint32_t(*n));
  }
  for (auto i = blocks; i > 0; --i) {
    auto n = take_number(in);
    if (!n || *n > line_block_bytes) return damaged("its index has an impossible block");
    index.blocks_.push_back(std::uint32_t(*n));
    index.lines_ += std::int64_t(*n);
  }
  if (!in.empty()) return damaged("its index is too long");
  return index;
}

struct SeekableWriter::Compressor {
  ZSTD_CCtx* context = ZSTD_createCCtx();

  Compressor() {
    ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, level);
    ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
  }
  ~Compressor() { ZSTD_freeCCtx(context); }
};

SeekableWriter::SeekableWriter() : compressor_(std::make_unique<Compressor>()) {}
SeekableWriter::~SeekableWriter() = default;

void SeekableWriter::count(std::string_view log) {
  while (!log.empty()) {
    auto in_block = std::size_t(index_.size_) % line_block_bytes;
    if (in_block == 0) index_.blocks_.push_back(0);
    auto n = std::min(log.size(), line_block_bytes - in_block);
    auto ends = line_ends(log.substr(0, n));
    index_.blocks_.back() += std::uint32_t(ends);
    index_.lines_ += ends;
    index_.size_ += std::int64_t(n);
    log.remove_prefix(n);
  }
}

void SeekableWriter::flush(std::string& out) {
  auto at = out.size();
  out.resize(at + ZSTD_compressBound(pending_.size()));
  auto n = ZSTD_compress2(compressor_->context, out.data() + at, out.size() - at, pending_.data(), pending_.size());
  assert(!ZSTD_isError(n) && "there is room for any frame");
  out.resize(at + n);
  index_.frames_.push_back(std::uint32_t(n));
  raw_.push_back(std::uint32_t(pending_.size()));
  pending_.clear();
}

std::string SeekableWriter::write(std::string_view log) {
  count(log);
  std::string out;
  while (!log.empty()) {
    auto n = std::min(log.size(), seekable_frame_bytes - pending_.size());
    pending_ += log.substr(0, n);
    log.remove_prefix(n);
    if (pending_.size() == seekable_frame_bytes) flush(out);
  }
  return out;
}

std::string SeekableWriter::finish() {
  std::string out;
  if (!pending_.empty()) flush(out);
  constexpr std::uint32_t entry_bytes = 8, footer_bytes = 9;
  auto frames = std::uint32_t(raw_.size());
  put_u32(out, skippable_magic);
  put_u32(out, frames * entry_bytes + footer_bytes);
  for (std::size_t i = 0; i < frames; ++i) {
    put_u32(out, index_.frames_[i]);
    put_u32(out, raw_[i]);
  }
  put_u32(out, frames);
  out += '\0';   // no checksums in the table: each frame has its own
  put_u32(out, seek_table_magic);
  return out;
}

Result<std::string> unpack_frames(std::string_view stored, std::size_t max) {
  std::string out;
  while (!stored.empty()) {
    auto length = ZSTD_findFrameCompressedSize(stored.data(), stored.size());
    if (ZSTD_isError(length)) return damaged("a frame is cut short or none");
    auto size = ZSTD_getFrameContentSize(stored.data(), length);
    if (size > seekable_frame_bytes) return damaged("a frame of a size it cannot have");
    if (size > max - out.size()) return fail(Errc::too_large, "a stored log: more than " + std::to_string(max) + " bytes at once");
    auto at = out.size();
    out.resize(at + size);
    auto n = ZSTD_decompress(out.data() + at, size, stored.data(), length);
    if (ZSTD_isError(n) || n != size) return damaged("a frame is not what was written");
    stored.remove_prefix(length);
  }
  return out;
}

std::string seekable_version() { return std::to_string(ZSTD_versionNumber()) + "." + std::to_string(level); }

}  // namespace mayfly
