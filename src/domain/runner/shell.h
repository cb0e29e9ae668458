#pragma once
// A shell in a running job, as its two ends see it: whoever looks (a WebSocket to a gateway), and mayfly-init beside the steps.
// In between everything only hands messages on.
//
//   GET /jobs/{id}/shell                               whoever looks; the first message is `open`
//   GET /runner/v1/attempts/{id}/shells/{shell}        the runner, once its heartbeat told it of the shell; the first message is `open` too, and says who asks
//   POST /runner/v1/attempts/{id}/shells/{shell}/ended ShellReport → {}, repeatable
//
// Binary messages are a byte that names the stream (0 input, 1 output, 2 error output) and up to max_shell_piece_bytes of it.
// Text messages are JSON with one key:
//
//   down  {"open": {"tty", "columns", "rows", "term", "command", "who"}}   {"size": {"columns", "rows"}}   {"end": true}: no more input
//   up    {"exit": {"code", "detail"}}: the last message
//   both  {"taken": N}: of your bytes, this many so far. Nobody may be more than shell_window_bytes ahead of the other.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"
#include "base/time.h"

namespace mayfly {

inline constexpr std::int64_t shell_window_bytes = 64 << 10;     // each way
inline constexpr std::size_t max_shell_piece_bytes = 16 << 10;
inline constexpr std::size_t max_shells_per_job = 4;             // at once
inline constexpr std::size_t max_shell_command_bytes = 64 << 10; // of all its words
inline constexpr std::size_t max_shell_command_words = 256;
inline constexpr int max_terminal_side = 4096;                   // columns or rows
inline constexpr Duration max_hold = std::chrono::hours(2);

enum class ShellStream : std::uint8_t { in = 0, out = 1, err = 2 };

struct ShellSize {
  int columns = 80;
  int rows = 24;
  bool operator==(const ShellSize&) const = default;
};

struct ShellWish {
  bool tty = true;
  ShellSize size = {};
  std::string term = "xterm";
  std::vector<std::string> command = {};   // empty: the image's shell
  bool operator==(const ShellWish&) const = default;
};

struct ShellFrame {
  bool text = false;
  std::string bytes = {};
  bool operator==(const ShellFrame&) const = default;
};

struct ShellOpen {
  ShellWish wish = {};
  std::string who = {};                    // filled in by the gateway
  bool operator==(const ShellOpen&) const = default;
};
struct ShellData {
  ShellStream stream = ShellStream::in;
  std::string bytes = {};
  bool operator==(const ShellData&) const = default;
};
struct ShellInputEnd {
  bool operator==(const ShellInputEnd&) const = default;
};
struct ShellBytesTaken {
  std::int64_t bytes = 0;
  bool operator==(const ShellBytesTaken&) const = default;
};
struct ShellExit {
  std::optional<int> code = {};
  std::string detail = {};
  bool operator==(const ShellExit&) const = default;
};

using ShellWord = std::variant<ShellOpen, ShellData, ShellSize, ShellInputEnd, ShellBytesTaken, ShellExit>;

ShellFrame to_frame(const ShellWord& word);
/// Errc::invalid names what is wrong; Errc::too_large: a limit above.
Result<ShellWord> shell_word_from(const ShellFrame& frame);

/// How long a shell was open, and how it ended.
struct ShellReport {
  std::optional<int> exit_code = {};
  std::string detail = {};
  std::int64_t open_ms = 0;
  bool operator==(const ShellReport&) const = default;
};
std::string to_json(const ShellReport&);
Result<ShellReport> shell_report_from_json(std::string_view text);

/// Errc::invalid: sizes, names or commands no shell can have.
Result<void> check_shell_wish(const ShellWish& wish);

}  // namespace mayfly
