#pragma once
// What the nodes of the log path tell each other.
//
//   Bus topic::logs, key = attempt    whole frames (domain/logs/frame.h). An empty frame at offset N is a mark: what is before N is
//                                     wanted durable now.
//                                     Or JSON, from shippers that are not ours (domain/logs/shipped.h).
//   Cache channel log_notices         aggregators and gateways to gateways: how far logs are durable, where one has a gap, that it ended
//   Cache channel log_watch           gateways to all: which logs are watched; "from" asks for what is in memory from there on
//   Cache channel log:{attempt}       frames of a watched log, as they come
//   Cache key log_next:{attempt}      its sequence: the end of what the bus has taken
//
// Whatever the Cache loses is found out from the database.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "base/time.h"

namespace mayfly {

inline constexpr std::size_t max_log_message_bytes = 512 << 10;   // of frames in one message
inline constexpr std::size_t max_log_lines_bytes = 32 << 10;      // of notices or watches in one message
inline constexpr std::string_view log_notices = "log_notices";
inline constexpr std::string_view log_watches = "log_watch";

std::string log_channel(AttemptId attempt);
std::string log_next_key(AttemptId attempt);

std::string log_mark(std::int64_t offset, Time now);

/// Cuts between frames into pieces of at most `max` bytes. `frames` holds whole frames, each smaller than that.
std::vector<std::string> split_frames(std::string_view frames, std::size_t max = max_log_message_bytes);

/// Frames that carry `text` from `offset` on.
std::string frames_of(std::int64_t offset, std::string_view text, Time now);

struct LogNotice {
  AttemptId attempt;
  std::int64_t durable = 0;
  std::optional<std::int64_t> gap = {};   // the log goes on here, and what came lies beyond
  bool ended = false;
  bool operator==(const LogNotice&) const = default;
};

struct LogWatch {
  AttemptId attempt;
  std::optional<std::int64_t> from = {};
  bool operator==(const LogWatch&) const = default;
};

// One line each. What is no line of ours is passed over.
std::string to_line(const LogNotice&);
std::string to_line(const LogWatch&);
std::vector<LogNotice> notices_from(std::string_view lines);
std::vector<LogWatch> watches_from(std::string_view lines);

/// Lines, collected into messages.
class LineBatches final {
 public:
  void add(std::string line);
  bool empty() const { return messages_.empty(); }
  std::vector<std::string> take() { return std::exchange(messages_, {}); }

 private:
  std::vector<std::string> messages_;
};

}  // namespace mayfly
