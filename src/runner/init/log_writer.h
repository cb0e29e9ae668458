#pragma once
// The one place where bytes of a job become log: masked, given their offset and time, framed, and appended to the log file.

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "base/time.h"
#include "domain/logs/frame.h"
#include "domain/logs/masker.h"

namespace mayfly {

inline constexpr Duration log_gather_time = std::chrono::milliseconds(5);   // frames of one stream are at least so far apart
inline constexpr std::size_t log_backlog_bytes = 1 << 20;                    // frames a full disk may keep waiting
inline constexpr std::int64_t log_reserve_bytes = 64 << 10;                  // of the limit: for what mayfly itself says

/// Not thread-safe; never blocks longer than a write to a file does. A disk that is full keeps frames waiting, and blocked()
/// asks for no more bytes, which in turn stops the job's own writes: nothing is lost.
class LogWriter final {
 public:
  /// Appends to `fd`, which stays the caller's. `limit`: text bytes of the log, our own lines included. `begin`: of them, those that are there.
  LogWriter(int fd, std::shared_ptr<const MaskPatterns> patterns, std::int64_t limit, std::int64_t begin = 0);

  /// Output of a step, in the order it was read.
  void write(std::uint16_t step, LogStream stream, std::string_view bytes, Time now);
  /// That stream of that step has ended: what the masker held back is said.
  void end_stream(std::uint16_t step, LogStream stream, Time now);
  /// A line of our own: "mayfly: <text>".
  void say(std::uint16_t step, std::string_view text, Time now);
  /// Says how many bytes were dropped, if any were, and flushes. Nothing may follow.
  void finish(Time now);

  /// Flushes what has gathered long enough; call when due() has come and whenever the disk may have space again.
  void tick(Time now);
  /// When tick() is needed; Time::max() when it is not.
  Time due() const;

  bool blocked() const { return waiting_.size() >= log_backlog_bytes; }
  /// Frames the file has not taken yet.
  std::size_t backlog() const { return waiting_.size(); }
  /// Offset of the next byte, counting what has gathered; where a step that starts now begins.
  std::int64_t offset() const { return offset_ + static_cast<std::int64_t>(gathered_.size()); }
  std::int64_t dropped() const { return dropped_; }
  const std::shared_ptr<const MaskPatterns>& patterns() const { return patterns_; }
  /// Would this text be changed by masking?
  bool holds_secret(std::string_view text) const;

 private:
  struct Key {
    std::uint16_t step;
    LogStream stream;
    auto operator<=>(const Key&) const = default;
  };
  void gather(Key key, std::string_view text, Time now, bool ours);
  void flush(Time now);
  void write_out();

  int fd_;
  std::shared_ptr<const MaskPatterns> patterns_;
  std::int64_t limit_;
  std::int64_t file_left_;      // frames of one byte each must not make a file many times the limit
  std::map<Key, Masker> maskers_;
  Key gathered_key_{};
  std::string gathered_;        // masked text that has no frame yet
  Time gathered_since_{};
  Time last_flush_{};
  bool line_open_ = false;      // the log's last byte is not '\n'
  std::int64_t offset_ = 0;
  std::int64_t dropped_ = 0;
  bool full_ = false;
  std::string masked_;
  std::string waiting_;
};

}  // namespace mayfly
