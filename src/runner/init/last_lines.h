#pragma once
// The last lines of an endless stream, bounded in number and length: what is kept of a service's output, for the day it fails.

#include <deque>
#include <string>
#include <string_view>
#include <vector>

namespace mayfly {

class LastLines final {
 public:
  LastLines(std::size_t lines, std::size_t line_bytes) : max_lines_(lines), max_bytes_(line_bytes) {}

  void feed(std::string_view bytes);
  /// Oldest first, as UTF-8; a line that has not ended yet is the last.
  std::vector<std::string> lines() const;

 private:
  void push(std::string line);

  std::size_t max_lines_;
  std::size_t max_bytes_;
  std::deque<std::string> lines_;
  std::string open_;
  std::size_t cut_ = 0;   // bytes of the open line that were not kept
};

}  // namespace mayfly
