#pragma once
// Text for a terminal: names and messages from outside may not steer it, columns line up, and colour is there only where
// it is wanted.

#include <string>
#include <string_view>
#include <vector>

namespace mayfly::cli {

struct Style {
  bool colour = false;
  int width = 80;
};

enum class Paint { none, bold, dim, red, green, yellow, blue, cyan };

std::string painted(std::string_view text, Paint paint, const Style& style);

/// Control characters and broken UTF-8 become '?'. For everything a commit's author or a server could have written.
std::string harmless(std::string_view text);

/// The first line of it, harmless.
std::string first_line(std::string_view text);

/// Columns the text takes: its code points, escape sequences not counted.
std::size_t columns(std::string_view text);

/// At most `width` columns, ending in … when cut. Escape sequences stay whole; the colour is ended.
std::string cut(std::string_view text, std::size_t width);

/// `text` and spaces up to `width` columns.
std::string padded(std::string text, std::size_t width);

/// Rows as lines with columns as wide as their widest cell; the last one is not padded.
std::string table(const std::vector<std::vector<std::string>>& rows);

/// The last lines of a log, harmless and without escape sequences; tabs become spaces.
std::vector<std::string> last_lines(std::string_view log, std::size_t max);

/// "512 B", "1.2 KiB", "4.0 GiB".
std::string format_bytes(std::int64_t bytes);

}  // namespace mayfly::cli
