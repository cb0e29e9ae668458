#pragma once
// A finished log as one compressed object of which any part can be read by itself: the zstd seekable format (facebook/zstd,
// contrib/seekable_format: independent frames, and a seek table in a skippable frame at the end), which `zstd -d` reads as any
// other file. Beside it a small index that tells where frames and lines are.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace mayfly {

inline constexpr std::size_t seekable_frame_bytes = 256 << 10;   // of log in one frame
inline constexpr std::size_t line_block_bytes = 64 << 10;        // of log between two entries of the line index
inline constexpr std::int64_t max_indexed_bytes = std::int64_t(1) << 40;

struct ByteRange {
  std::int64_t from = 0;
  std::int64_t to = 0;      // exclusive
  bool operator==(const ByteRange&) const = default;
};

/// Where to look for lines: they begin after `skip` line ends in these bytes of the log.
struct LineRange {
  ByteRange bytes;
  std::int64_t skip = 0;
  bool operator==(const LineRange&) const = default;
};

/// About one object; a few bytes for each 64 KiB of log.
class LogIndex final {
 public:
  std::int64_t size() const { return size_; }     // of the log
  std::int64_t lines() const { return lines_; }   // line ends in it

  /// Where in the object the frames are that hold these bytes of the log, and at which byte of the log they begin. The range is cut to the log.
  struct Frames {
    ByteRange stored;
    std::int64_t begins = 0;
  };
  Frames frames_of(ByteRange log) const;

  /// `count` lines from line `first`, both counted from 0; blocks on either side are whole. Empty past the end.
  LineRange find_lines(std::int64_t first, std::int64_t count) const;

  std::string encode() const;
  /// Errc::corrupt.
  static Result<LogIndex> decode(std::string_view bytes);

  bool operator==(const LogIndex&) const = default;

 private:
  friend class SeekableWriter;
  std::int64_t size_ = 0, lines_ = 0;
  std::vector<std::uint32_t> frames_;   // stored bytes of each
  std::vector<std::uint32_t> blocks_;   // line ends in each
};

/// A log on its way into an object.
class SeekableWriter final {
 public:
  SeekableWriter();
  ~SeekableWriter();

  /// The next bytes of the log; gives the bytes of the object that are ready.
  std::string write(std::string_view log);
  /// The rest of the object. index() is whole then.
  std::string finish();
  const LogIndex& index() const { return index_; }

 private:
  void count(std::string_view log);
  void flush(std::string& out);

  struct Compressor;
  std::unique_ptr<Compressor> compressor_;
  std::string pending_;
  std::vector<std::uint32_t> raw_;   // log bytes of each frame
  LogIndex index_;
};

/// The log in whole frames. Errc::corrupt: they are none, or damaged. Errc::too_large: more than `max` bytes.
Result<std::string> unpack_frames(std::string_view stored, std::size_t max);

/// What made the frames: others may make others of the same log.
std::string seekable_version();

}  // namespace mayfly
