#include "adapters/docker/frames.h"

#include <gtest/gtest.h>

#include <string>

namespace mayfly::docker {
namespace {

std::string head(char stream, std::uint32_t length) {
  return {stream, 0, 0, 0, char(length >> 24), char(length >> 16), char(length >> 8), char(length)};
}

struct Heard {
  std::string output, error;
  FrameReader::Take take = [this](FrameReader::Stream stream, std::string_view bytes) { (stream == FrameReader::Stream::error ? error : output) += bytes; };
};

const std::string stream = head(1, 5) + "hello" + head(2, 4) + "oops" + head(1, 0) + head(0, 1) + "!";

TEST(Frames, AreTakenApart) {
  Heard heard;
  FrameReader reader;
  ASSERT_TRUE(reader.feed(stream, heard.take));
  EXPECT_EQ(heard.output, "hello!");
  EXPECT_EQ(heard.error, "oops");
  EXPECT_TRUE(reader.between_frames());
}

TEST(Frames, MayComeInAnyPieces) {
  for (std::size_t at = 0; at <= stream.size(); ++at) {
    Heard heard;
    FrameReader reader;
    ASSERT_TRUE(reader.feed(std::string_view(stream).substr(0, at), heard.take));
    ASSERT_TRUE(reader.feed(std::string_view(stream).substr(at), heard.take));
    EXPECT_EQ(heard.output + heard.error, "hello!oops") << "cut at " << at;
  }
}

TEST(Frames, OneThatIsCutOffIsSeen) {
  Heard heard;
  FrameReader reader;
  ASSERT_TRUE(reader.feed(head(1, 5) + "he", heard.take));
  EXPECT_EQ(heard.output, "he") << "what has come is handed on";
  EXPECT_FALSE(reader.between_frames());
}

TEST(Frames, AreRefusedWhenTheyAreNone) {
  Heard heard;
  for (auto& bad : {std::string("HTTP/1.1 200 OK"), head(3, 1), std::string("\1\1\0\0\0\0\0\1", 8), std::string("\1\0\0\1\0\0\0\1", 8)}) {
    FrameReader reader;
    EXPECT_EQ(reader.feed(bad, heard.take).error().code, Errc::invalid);
  }
}

TEST(Frames, HaveALargestLength) {
  Heard heard;
  FrameReader largest, larger;
  EXPECT_TRUE(largest.feed(head(1, max_frame_bytes), heard.take));
  EXPECT_FALSE(larger.feed(head(1, max_frame_bytes + 1), heard.take));
}

}  // namespace
}  // namespace mayfly::docker
