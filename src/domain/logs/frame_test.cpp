#include "domain/logs/frame.h"

#include <gtest/gtest.h>

#include "domain/logs/crc32c.h"

namespace mayfly {
namespace {

LogFrame some_frame(std::string_view text) {
  return {.offset = 4096, .time = from_micros(1'700'000'000'123'456), .step = 7, .stream = LogStream::err, .text = text};
}

std::string encoded(std::string_view text) {
  std::string bytes;
  append_frame(bytes, some_frame(text));
  return bytes;
}

TEST(Crc32c, MatchesThePublishedVectors) {  // RFC 3720 appendix B.4
  EXPECT_EQ(crc32c("123456789"), 0xE3069283u);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8A9136AAu);
  EXPECT_EQ(crc32c(std::string(32, '\xFF')), 0x62A8AB43u);
  EXPECT_EQ(crc32c(""), 0u);
}

TEST(Crc32c, IsTheSameByTableAndByInstructionAtEveryLength) {
  std::string text;
  for (int i = 0; i < 100; ++i) {
    ASSERT_EQ(crc32c(text), crc32c_by_table(text)) << text.size() << " bytes";
    text += static_cast<char>(i * 37);
  }
}

TEST(LogFrame, ComesBackAsItWasWritten) {
  auto bytes = encoded(std::string_view("gr\xFC\xDF\0dich", 9)) + encoded("next");
  auto first = decode_frame(bytes);
  ASSERT_TRUE(first) << first.error().message;
  EXPECT_EQ(first->size, frame_header_bytes + 9);
  EXPECT_EQ(first->frame.offset, 4096);
  EXPECT_EQ(to_micros(first->frame.time), 1'700'000'000'123'456);
  EXPECT_EQ(first->frame.step, 7);
  EXPECT_EQ(first->frame.stream, LogStream::err);
  EXPECT_EQ(first->frame.text, std::string_view("gr\xFC\xDF\0dich", 9));
  auto second = decode_frame(std::string_view(bytes).substr(first->size));
  ASSERT_TRUE(second);
  EXPECT_EQ(second->frame.text, "next");
}

TEST(LogFrame, HasTheLayoutItsHeaderPromises) {
  auto bytes = encoded("abc");
  ASSERT_EQ(bytes.size(), frame_header_bytes + 3);
  EXPECT_EQ(bytes.substr(0, 8), std::string_view("MF\x01\x02\x07\x00\x00\x00", 8));
  EXPECT_EQ(bytes.substr(8, 4), std::string_view("\x03\x00\x00\x00", 4));
  EXPECT_EQ(bytes.substr(16, 8), std::string_view("\x00\x10\x00\x00\x00\x00\x00\x00", 8));
}

TEST(LogFrame, AsksForMoreAtEveryCut) {
  auto bytes = encoded("half a frame is no frame");
  for (std::size_t n = 0; n < bytes.size(); ++n) {
    auto part = decode_frame(std::string_view(bytes).substr(0, n));
    ASSERT_TRUE(part) << n;
    EXPECT_EQ(part->size, 0u) << n;
  }
}

TEST(LogFrame, AChangedBitAnywhereButInTheNumbersIsNoticed) {
  auto good = encoded("payload");
  for (std::size_t at = 0; at < good.size(); ++at) {
    if (at == 3 || (at >= 4 && at < 6) || at >= 16) {
      if (at < frame_header_bytes) continue;  // stream, step, offset and time carry no checksum
    }
    auto bad = good;
    bad[at] ^= 0x40;
    auto got = decode_frame(bad);
    EXPECT_TRUE(!got || got->size == 0) << "byte " << at;
  }
}

TEST(LogFrame, TakesTheLargestTextAndRefusesALongerOne) {
  auto bytes = encoded(std::string(max_frame_text_bytes, 'x'));
  auto largest = decode_frame(bytes);
  ASSERT_TRUE(largest);
  EXPECT_EQ(largest->frame.text.size(), max_frame_text_bytes);
  bytes[8] = 1;  // length + 1
  auto longer = decode_frame(bytes);
  ASSERT_FALSE(longer);
  EXPECT_EQ(longer.error().code, Errc::corrupt);
}

TEST(LogFrame, RefusesWhatIsNoFrame) {
  auto good = encoded("x");
  auto with = [&](std::size_t at, char c) {
    auto bad = good;
    bad[at] = c;
    return decode_frame(bad);
  };
  EXPECT_FALSE(decode_frame("GET / HTTP/1.1"));
  EXPECT_FALSE(decode_frame("X"));
  EXPECT_FALSE(with(2, 2)) << "version";
  EXPECT_FALSE(with(3, 0)) << "stream";
  EXPECT_FALSE(with(3, 4)) << "stream";
  EXPECT_FALSE(with(6, 1)) << "reserved";
  EXPECT_FALSE(with(23, '\x80')) << "negative offset";
}

}  // namespace
}  // namespace mayfly
