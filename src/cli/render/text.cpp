#include "cli/render/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/text.h"

namespace mayfly::cli {
namespace {

constexpr std::string_view reset = "\x1b[0m";

std::string_view code_of(Paint paint) {
  static constexpr std::array<std::string_view, 8> codes{"",           "\x1b[1m",  "\x1b[2m",  "\x1b[31m",
                                                         "\x1b[32m", "\x1b[33m", "\x1b[34m", "\x1b[36m"};
  return codes[std::size_t(paint)];
}

/// C0, DEL, and C1 as UTF-8 writes it.
bool is_control(std::string_view code_point) {
  auto first = static_cast<unsigned char>(code_point[0]);
  if (code_point.size() == 1) return first < 0x20 || first == 0x7f;
  return code_point.size() == 2 && first == 0xc2 && static_cast<unsigned char>(code_point[1]) < 0xa0;
}

/// Bytes of the colour sequence at the front (ESC [ … m); 0 when there is none.
std::size_t escape_length(std::string_view s) {
  if (!s.starts_with("\x1b[")) return 0;
  auto end = s.find('m');
  return end == std::string_view::npos ? 0 : end + 1;
}

/// Calls `visit(piece, is_escape)` for each code point and colour sequence, until it returns false.
template <class F>
void for_each_piece(std::string_view s, F visit) {
  while (!s.empty()) {
    auto escape = escape_length(s);
    auto length = escape ? escape : std::max<std::size_t>(1, character_bytes(s));
    if (!visit(s.substr(0, length), escape > 0)) return;
    s.remove_prefix(length);
  }
}

/// What a line of a log looks like when it may not steer the terminal: what a carriage return overwrote is gone.
std::string log_line(std::string_view line) {
  while (line.ends_with('\r')) line.remove_suffix(1);
  if (auto overwritten = line.rfind('\r'); overwritten != std::string_view::npos) line.remove_prefix(overwritten + 1);
  std::string out;
  while (!line.empty()) {
    if (line.starts_with("\x1b[")) {
      auto end = line.find_first_not_of("0123456789;?", 2);
      line.remove_prefix(end == std::string_view::npos ? line.size() : end + 1);
      continue;
    }
    out += line.front() == '\t' ? ' ' : line.front();
    line.remove_prefix(1);
  }
  return harmless(out);
}

}  // namespace

std::string painted(std::string_view text, Paint paint, const Style& style) {
  if (!style.colour || paint == Paint::none || text.empty()) return std::string(text);
  return std::string(code_of(paint)) + std::string(text) + std::string(reset);
}

std::string harmless(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    auto length = character_bytes(text);
    auto bad = length == 0 || is_control(text.substr(0, length));
    out += bad ? "?" : text.substr(0, length);
    text.remove_prefix(std::max<std::size_t>(1, length));
  }
  return out;
}

std::string first_line(std::string_view text) { return harmless(text.substr(0, text.find_first_of("\r\n"))); }

std::size_t columns(std::string_view text) {
  std::size_t n = 0;
  for_each_piece(text, [&](std::string_view, bool escape) {
    n += escape ? 0 : 1;
    return true;
  });
  return n;
}

std::string cut(std::string_view text, std::size_t width) {
  if (columns(text) <= width) return std::string(text);
  if (width == 0) return {};
  std::string out;
  std::size_t used = 0;
  bool coloured = false;
  for_each_piece(text, [&](std::string_view piece, bool escape) {
    if (!escape && used + 1 == width) return false;
    out += piece;
    used += escape ? 0 : 1;
    coloured = coloured || escape;
    return true;
  });
  return out + "…" + std::string(coloured ? reset : "");
}

std::string padded(std::string text, std::size_t width) {
  auto used = columns(text);
  if (used < width) text.append(width - used, ' ');
  return text;
}

std::string table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths;
  for (auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], columns(row[i]));
  }
  std::string out;
  for (auto& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) out += i + 1 < row.size() ? padded(row[i], widths[i] + 2) : row[i];
    while (out.ends_with(' ')) out.pop_back();
    out += '\n';
  }
  return out;
}

std::vector<std::string> last_lines(std::string_view log, std::size_t max) {
  std::vector<std::string> lines;
  while (log.ends_with('\n')) log.remove_suffix(1);
  while (!log.empty() && lines.size() < max) {
    auto start = log.rfind('\n');
    lines.push_back(log_line(log.substr(start == std::string_view::npos ? 0 : start + 1)));
    log = start == std::string_view::npos ? std::string_view() : log.substr(0, start);
  }
  std::ranges::reverse(lines);
  return lines;
}

std::string format_bytes(std::int64_t bytes) {
  if (bytes < 1024) return fmt::format("{} B", bytes);
  static constexpr std::array<std::string_view, 4> units{"KiB", "MiB", "GiB", "TiB"};
  double value = double(bytes) / 1024;
  std::size_t unit = 0;
  for (; value >= 1024 && unit + 1 < units.size(); ++unit) value /= 1024;
  return fmt::format("{:.1f} {}", value, units[unit]);
}

}  // namespace mayfly::cli
