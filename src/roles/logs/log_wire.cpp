#include "roles/logs/log_wire.h"

#include <algorithm>
#include <charconv>
#include <cstring>

#include "domain/logs/frame.h"

namespace mayfly {
namespace {

constexpr std::size_t id_length = 36;

std::optional<std::int64_t> number(std::string_view& text) {
  std::int64_t out = 0;
  auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (ec != std::errc{} || out < 0) return std::nullopt;
  text.remove_prefix(std::size_t(end - text.data()));
  return out;
}

/// Calls `use` with each line's attempt and what stands behind it.
template <class F>
void each_line(std::string_view lines, F use) {
  while (!lines.empty()) {
    auto end = std::min(lines.find('\n'), lines.size());
    auto line = lines.substr(0, end);
    lines.remove_prefix(std::min(end + 1, lines.size()));
    if (line.size() < id_length) continue;
    if (auto attempt = AttemptId::parse(line.substr(0, id_length))) use(*attempt, line.substr(id_length));
  }
}

}  // namespace

std::string log_channel(AttemptId attempt) { return "log:" + attempt.str(); }
std::string log_next_key(AttemptId attempt) { return "log_next:" + attempt.str(); }

std::string log_mark(std::int64_t offset, Time now) {
  std::string out;
  append_frame(out, {.offset = offset, .time = now, .step = 0, .stream = LogStream::mayfly, .text = {}});
  return out;
}

std::vector<std::string> split_frames(std::string_view frames, std::size_t max) {
  std::vector<std::string> out;
  while (!frames.empty()) {
    std::size_t taken = 0;
    while (taken < frames.size()) {
      auto size = frame_size(frames.substr(taken));
      if (size == 0) return out;
      if (taken > 0 && taken + size > max) break;
      taken += size;
    }
    out.emplace_back(frames.substr(0, taken));
    frames.remove_prefix(taken);
  }
  return out;
}

std::string frames_of(std::int64_t offset, std::string_view text, Time now) {
  std::string out;
  while (!text.empty()) {
    auto piece = text.substr(0, max_frame_text_bytes);
    append_frame(out, {.offset = offset, .time = now, .step = 0, .stream = LogStream::out, .text = piece});
    offset += std::int64_t(piece.size());
    text.remove_prefix(piece.size());
  }
  return out;
}

std::string to_line(const LogNotice& n) {
  auto out = n.attempt.str() + " " + std::to_string(n.durable);
  if (n.gap) out += " gap " + std::to_string(*n.gap);
  if (n.ended) out += " ended";
  return out + "\n";
}

std::string to_line(const LogWatch& w) { return w.attempt.str() + (w.from ? " " + std::to_string(*w.from) : "") + "\n"; }

std::vector<LogNotice> notices_from(std::string_view lines) {
  std::vector<LogNotice> out;
  each_line(lines, [&](AttemptId attempt, std::string_view rest) {
    LogNotice notice{.attempt = attempt};
    if (!rest.starts_with(' ')) return;
    rest.remove_prefix(1);
    auto durable = number(rest);
    if (!durable) return;
    notice.durable = *durable;
    constexpr std::string_view gap = " gap ";
    if (rest.starts_with(gap)) {
      rest.remove_prefix(gap.size());
      if (!(notice.gap = number(rest))) return;
    }
    notice.ended = rest == " ended";
    if (notice.ended || rest.empty()) out.push_back(notice);
  });
  return out;
}

std::vector<LogWatch> watches_from(std::string_view lines) {
  std::vector<LogWatch> out;
  each_line(lines, [&](AttemptId attempt, std::string_view rest) {
    LogWatch watch{.attempt = attempt};
    if (rest.starts_with(' ')) {
      rest.remove_prefix(1);
      watch.from = number(rest);
      if (!watch.from) return;
    }
    if (rest.empty()) out.push_back(watch);
  });
  return out;
}

void LineBatches::add(std::string line) {
  if (messages_.empty() || messages_.back().size() + line.size() > max_log_lines_bytes) messages_.emplace_back();
  messages_.back() += line;
}

}  // namespace mayfly
