#pragma once
// Logs as shippers that are not ours send them: Vector, Telegraf, rsyslog, syslog-ng. They tail files and send JSON about
// each line; what they do not lose they may send twice, so a line is named by attempt and offset like every log byte, and
// whoever stores them passes over what it knows.
//
// Read are: JSON objects, one a line (ndjson); an array of them; Telegraf's {"metrics": […]}. A record has
//   attempt  `attempt`, else the name of the file in `file`, `path` or `filename`: …/<attempt id>.log or .jsonl
//   text     `message`, `msg` or `value`: a line without its end, which was '\n'
//   offset   `offset` or `off`: where the line begins in the file, which is where it begins in the log
// each at the top, in `fields` or in `tags`. Not every shipper tells offsets, passes on empty lines and bytes that are no
// UTF-8, or leaves a last line that has no end. A file named .jsonl bears all of them, and so does a line that comes without an
// offset: there each line is a JSON object of ours (append_shipped_line), {"offset": N, "text": "…"} or
// {"offset": N, "data": "<base64>"}. A record may be such an object itself, with the `attempt` beside.

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/result.h"

namespace mayfly {

inline constexpr std::size_t max_shipped_bytes = 8 << 20;          // of one request or message, decompressed
inline constexpr std::size_t max_shipped_records = 100'000;        // in it
inline constexpr std::size_t max_shipped_text_bytes = 1 << 20;     // of one record
inline constexpr std::size_t shipped_line_text_bytes = 4 << 10;    // that one line of ours carries: far below every shipper's limit

struct ShippedRecord {
  AttemptId attempt;
  std::int64_t offset = 0;
  std::string text = {};

  bool operator==(const ShippedRecord&) const = default;
};

struct Shipped {
  std::vector<ShippedRecord> records;  // in the order they came
  std::size_t refused = 0;             // that were none: each for itself, the others are good
  std::string first_refusal = {};      // why
};

/// Whether a message of the log topic is from a shipper: it begins with '{' or '[', a frame (frame.h) with 'M'.
bool is_shipped(std::string_view message);

/// Errc::too_large past max_shipped_bytes or max_shipped_records. Errc::invalid when there is something in it, and no record.
Result<Shipped> decode_shipped(std::string_view bytes);

/// Frames of each attempt's records, in the order of their offsets; lines that join are one frame where it has room.
std::map<AttemptId, std::string> shipped_frames(std::vector<ShippedRecord> records);

/// Appends the bytes of a log as lines for a .jsonl file, any bytes and any length.
void append_shipped_lines(std::string& out, std::int64_t offset, std::string_view bytes);

}  // namespace mayfly
