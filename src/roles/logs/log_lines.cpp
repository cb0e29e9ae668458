#include "roles/logs/log_lines.h"

#include <algorithm>

namespace mayfly {
namespace {

constexpr std::size_t scan_bytes = 1 << 20;

/// Takes the lines out of a text that passes by.
class Cutter final {
 public:
  Cutter(std::int64_t skip, std::int64_t count) : skip_(skip), count_(count) {}

  void take(std::string_view text) {
    for (; skip_ > 0; --skip_) {
      auto end = text.find('\n');
      if (end == text.npos) return;
      text.remove_prefix(end + 1);
    }
    while (!done() && !text.empty()) {
      auto end = text.find('\n');
      bool whole = end != text.npos && end + 1 <= max_lines_bytes - lines.size();
      auto n = std::min(end == text.npos ? text.size() : end + 1, max_lines_bytes - lines.size());
      lines += text.substr(0, n);
      text.remove_prefix(n);
      if (whole) --count_;
    }
  }
  bool done() const { return count_ == 0 || lines.size() == max_lines_bytes; }

  std::string lines;

 private:
  std::int64_t skip_, count_;
};

}  // namespace

Task<Result<std::string>> read_lines(LogReader& log, AttemptId attempt, std::int64_t first, std::int64_t count) {
  if (first < 0 || count < 0 || count > max_lines_at_once)
    co_return fail(Errc::invalid, "lines: between 0 and " + std::to_string(max_lines_at_once) + " from line 1 on");
  CO_TRY_ASSIGN(auto found, co_await log.find_lines(attempt, first, count));
  auto range = found.value_or(LineRange{{0, max_log_bytes}, first});
  Cutter cutter(range.skip, count);
  while (!cutter.done() && range.bytes.from < range.bytes.to) {
    auto want = found ? range.bytes.to - range.bytes.from : std::int64_t(scan_bytes);
    CO_TRY_ASSIGN(auto text, co_await log.read(attempt, range.bytes.from, std::size_t(std::min(want, std::int64_t(max_lines_bytes)))));
    if (text.empty()) break;
    cutter.take(text);
    range.bytes.from += std::int64_t(text.size());
  }
  co_return std::move(cutter.lines);
}

}  // namespace mayfly
