#include "domain/logs/seekable.h"

#include <gtest/gtest.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <fstream>
#include <random>

namespace mayfly {
namespace {

struct Packed {
  std::string object;
  LogIndex index;
};

/// Written in pieces of all sizes.
Packed pack(std::string_view log, std::uint32_t seed = 1) {
  SeekableWriter writer;
  std::mt19937 random(seed);
  Packed out;
  while (!log.empty()) {
    auto n = std::min<std::size_t>(log.size(), random() % (400 << 10));
    out.object += writer.write(log.substr(0, n));
    log.remove_prefix(n);
  }
  out.object += writer.finish();
  out.index = writer.index();
  return out;
}

/// Lines of many lengths, empty and very long ones among them.
std::string log_of(std::size_t bytes, std::uint32_t seed = 1) {
  std::mt19937 random(seed);
  std::string out;
  for (int line = 0; out.size() < bytes; ++line) {
    auto kind = random() % 100;
    out += "line " + std::to_string(line);
    if (kind < 5) out += '\n';
    if (kind == 7) out += std::string(random() % 200'000, 'x');
    out += std::string(random() % 120, char('a' + random() % 26)) + "\n";
  }
  out.resize(bytes);
  return out;
}

/// What any zstd reads, skippable frames passed over.
std::string unzstd(std::string_view object) {
  auto* stream = ZSTD_createDStream();
  std::string out, buffer(ZSTD_DStreamOutSize(), '\0');
  ZSTD_inBuffer in{object.data(), object.size(), 0};
  std::size_t left = 0;
  while (in.pos < in.size) {
    ZSTD_outBuffer to{buffer.data(), buffer.size(), 0};
    left = ZSTD_decompressStream(stream, &to, &in);
    EXPECT_FALSE(ZSTD_isError(left)) << ZSTD_getErrorName(left);
    if (ZSTD_isError(left)) break;
    out.append(buffer, 0, to.pos);
  }
  EXPECT_EQ(left, 0u) << "it ends with its last frame";
  ZSTD_freeDStream(stream);
  return out;
}

std::string read(const Packed& log, ByteRange range) {
  if (range.from == range.to) return "";
  auto frames = log.index.frames_of(range);
  auto raw = unpack_frames(std::string_view(log.object).substr(std::size_t(frames.stored.from), std::size_t(frames.stored.to - frames.stored.from)), 1 << 30).value();
  return raw.substr(std::size_t(range.from - frames.begins), std::size_t(range.to - range.from));
}

std::vector<std::string> split(std::string_view text) {
  std::vector<std::string> out{""};
  for (char c : text) {
    if (c == '\n') out.emplace_back();
    else out.back() += c;
  }
  return out;
}

/// As a reader finds them.
std::vector<std::string> lines_of(const Packed& log, std::int64_t first, std::int64_t count) {
  auto range = log.index.find_lines(first, count);
  auto lines = split(read(log, range.bytes));
  if (range.skip >= std::int64_t(lines.size())) return {};
  lines.erase(lines.begin(), lines.begin() + range.skip);
  if (std::int64_t(lines.size()) > count) lines.resize(std::size_t(count));
  return lines;
}

std::uint32_t u32_at(std::string_view s, std::size_t at) {
  return std::uint32_t(std::uint8_t(s[at])) | std::uint32_t(std::uint8_t(s[at + 1])) << 8 | std::uint32_t(std::uint8_t(s[at + 2])) << 16 |
         std::uint32_t(std::uint8_t(s[at + 3])) << 24;
}

TEST(Seekable, AnyZstdReadsIt) {
  for (std::size_t size : {std::size_t(0), std::size_t(1), seekable_frame_bytes - 1, seekable_frame_bytes, seekable_frame_bytes + 1, std::size_t(3'000'000)}) {
    auto log = log_of(size);
    EXPECT_TRUE(unzstd(pack(log).object) == log) << size;
  }
}

TEST(Seekable, ItEndsWithTheSeekTableOfTheFormat) {
  auto packed = pack(log_of(600'000));
  auto& o = packed.object;
  ASSERT_EQ(u32_at(o, o.size() - 4), 0x8F92EAB1u);
  EXPECT_EQ(o[o.size() - 5], 0) << "no checksums, no reserved bits";
  auto frames = u32_at(o, o.size() - 9);
  ASSERT_EQ(frames, 3u);
  auto table = o.size() - 9 - frames * 8 - 8;
  EXPECT_EQ(u32_at(o, table), 0x184D2A5Eu);
  EXPECT_EQ(u32_at(o, table + 4), frames * 8 + 9);
  std::size_t stored = 0, raw = 0;
  for (std::uint32_t i = 0; i < frames; ++i) {
    auto length = u32_at(o, table + 8 + i * 8);
    EXPECT_EQ(length, ZSTD_findFrameCompressedSize(o.data() + stored, o.size() - stored)) << i;
    stored += length;
    raw += u32_at(o, table + 12 + i * 8);
  }
  EXPECT_EQ(stored, table);
  EXPECT_EQ(raw, 600'000u);
}

TEST(Seekable, AnyPartIsReadByItself) {
  auto log = log_of(2'000'000);
  auto packed = pack(log);
  std::mt19937 random(5);
  for (int i = 0; i < 300; ++i) {
    auto from = std::int64_t(random() % log.size()), to = std::min<std::int64_t>(from + random() % 600'000, std::int64_t(log.size()));
    ASSERT_TRUE(read(packed, {from, to}) == log.substr(std::size_t(from), std::size_t(to - from))) << from << " " << to;
    auto frames = packed.index.frames_of({from, to});
    ASSERT_LE(frames.begins, from);
    ASSERT_LT(from - frames.begins, std::int64_t(seekable_frame_bytes)) << "no frame more than needed";
  }
  EXPECT_EQ(packed.index.frames_of({-5, 1'000'000'000}).stored.from, 0);
  EXPECT_EQ(read(packed, {2'000'000, 2'000'000}), "");
}

TEST(Seekable, LinesAreFoundByTheirNumber) {
  auto log = log_of(1'500'000, 3);
  auto packed = pack(log);
  auto all = split(log);
  EXPECT_EQ(packed.index.lines(), std::int64_t(all.size()) - 1) << "line ends";
  std::mt19937 random(6);
  for (int i = 0; i < 500; ++i) {
    auto first = i < 20 ? i : std::int64_t(random() % all.size()), count = std::int64_t(1 + random() % 50);
    auto end = std::min(all.size(), std::size_t(first + count));
    std::vector<std::string> expected(all.begin() + first, all.begin() + std::int64_t(end));
    ASSERT_EQ(lines_of(packed, first, count), expected) << first << " " << count;
  }
}

TEST(Seekable, FewBytesAreLookedThroughForALine) {
  std::string log;
  for (int i = 0; log.size() < 3'000'000; ++i) log += "line " + std::to_string(i) + "\n";
  auto index = pack(log).index;
  for (std::int64_t line = 0; line < index.lines(); line += 997) {
    auto range = index.find_lines(line, 1);
    EXPECT_LE(range.bytes.to - range.bytes.from, 2 * std::int64_t(line_block_bytes)) << line;
  }
}

TEST(Seekable, LinesThatAreNotThereAreNone) {
  auto packed = pack("a\nb\nc");
  EXPECT_EQ(packed.index.lines(), 2);
  EXPECT_EQ(lines_of(packed, 0, 3), (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_EQ(lines_of(packed, 2, 100), (std::vector<std::string>{"c"}));
  for (auto [first, count] : {std::pair<std::int64_t, std::int64_t>{3, 1}, {-1, 1}, {0, 0}, {0, -1}, {INT64_MAX, 1}, {INT64_MAX, INT64_MAX}}) {
    auto range = packed.index.find_lines(first, count);
    EXPECT_EQ(range.bytes.from, range.bytes.to) << first;
  }
  EXPECT_EQ(lines_of(packed, 1, INT64_MAX), (std::vector<std::string>{"b", "c"}));
  EXPECT_EQ(pack("").index.find_lines(0, 1).bytes, (ByteRange{0, 0}));
}

TEST(Seekable, TheIndexComesBackAsItWasAndIsSmall) {
  for (std::size_t size : {std::size_t(0), std::size_t(1), std::size_t(5'000'000)}) {
    auto index = pack(log_of(size)).index;
    auto text = index.encode();
    EXPECT_EQ(LogIndex::decode(text).value(), index);
    EXPECT_LE(text.size(), 10 + size / line_block_bytes * 4 + size / seekable_frame_bytes * 4);
  }
}

TEST(Seekable, AnIndexThatIsNoneIsRefused) {
  auto text = pack(log_of(700'000)).index.encode();
  for (std::size_t n = 0; n < text.size(); ++n) EXPECT_FALSE(LogIndex::decode(std::string_view(text).substr(0, n))) << n;
  EXPECT_FALSE(LogIndex::decode(text + "x"));
  std::string huge = "\x01";
  huge += "\xff\xff\xff\xff\xff\xff\xff\xff\x7f";
  EXPECT_FALSE(LogIndex::decode(huge));
  std::string many_lines = "\x01";
  many_lines += "\x05\x05\xff\xff\x7f";
  EXPECT_FALSE(LogIndex::decode(many_lines)) << "more lines than bytes";
}

TEST(Seekable, DamageIsFoundOut) {
  auto packed = pack(log_of(300'000));
  auto frames = packed.index.frames_of({0, 300'000}).stored;
  std::string stored = packed.object.substr(0, std::size_t(frames.to));
  ASSERT_TRUE(unpack_frames(stored, 300'000));
  EXPECT_EQ(unpack_frames(stored, 299'999).error().code, Errc::too_large);
  EXPECT_EQ(unpack_frames(stored.substr(0, stored.size() - 1), 1 << 20).error().code, Errc::corrupt);
  for (std::size_t at = 0; at < stored.size(); at += 1013) {
    auto other = stored;
    other[at] ^= 0x10;
    auto got = unpack_frames(other, 1 << 20);
    ASSERT_TRUE(!got || got->size() != 300'000 || *got != log_of(300'000)) << at;
    ASSERT_FALSE(got) << at;
  }
}

TEST(Seekable, AFrameThatClaimsTooMuchIsRefused) {
  std::string bomb(64 << 20, '\0'), stored(ZSTD_compressBound(bomb.size()), '\0');
  stored.resize(ZSTD_compress(stored.data(), stored.size(), bomb.data(), bomb.size(), 1));
  EXPECT_EQ(unpack_frames(stored, 1 << 30).error().code, Errc::corrupt);
}

}  // namespace
}  // namespace mayfly
