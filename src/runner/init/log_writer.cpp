#include "runner/init/log_writer.h"

#include <unistd.h>

#include <algorithm>

namespace mayfly {

LogWriter::LogWriter(int fd, std::shared_ptr<const MaskPatterns> patterns, std::int64_t limit, std::int64_t begin)
    : fd_(fd), patterns_(std::move(patterns)), limit_(limit), file_left_(2 * limit), offset_(begin) {}

void LogWriter::write(std::uint16_t step, LogStream stream, std::string_view bytes, Time now) {
  Key key{step, stream};
  auto masker = maskers_.try_emplace(key, patterns_).first;
  masked_.clear();
  masker->second.feed(bytes, masked_);
  gather(key, masked_, now, false);
}

void LogWriter::end_stream(std::uint16_t step, LogStream stream, Time now) {
  auto masker = maskers_.find({step, stream});
  if (masker == maskers_.end()) return;
  masked_.clear();
  masker->second.finish(masked_);
  maskers_.erase(masker);
  gather({step, stream}, masked_, now, false);
}

void LogWriter::say(std::uint16_t step, std::string_view text, Time now) {
  std::string line = "mayfly: " + std::string(text) + "\n";
  Masker masker(patterns_);
  masked_ = line_open_ ? "\n" : "";
  masker.feed(line, masked_);
  masker.finish(masked_);
  gather({step, LogStream::mayfly}, masked_, now, true);
  flush(now);
}

void LogWriter::finish(Time now) {
  flush(now);
  if (dropped_ > 0)
    say(0, std::to_string(dropped_) + " bytes of output were not kept: the log's limit is " + std::to_string(limit_) + " bytes", now);
}

void LogWriter::gather(Key key, std::string_view text, Time now, bool ours) {
  if (text.empty()) return;
  if (key != gathered_key_ && !gathered_.empty()) flush(now);
  gathered_key_ = key;
  auto room = std::max<std::int64_t>(0, limit_ - (ours ? 0 : log_reserve_bytes) - offset());
  if (!ours && file_left_ <= 0) room = 0;
  auto taken = text.substr(0, static_cast<std::size_t>(room));
  if (taken.size() < text.size()) {
    dropped_ += static_cast<std::int64_t>(text.size() - taken.size());
    if (!full_ && !ours) {
      full_ = true;
      gather(key, taken, now, ours);
      say(key.step, "the log has reached its limit of " + std::to_string(limit_) + " bytes; further output is not kept", now);
      return;
    }
  }
  if (taken.empty()) return;
  line_open_ = taken.back() != '\n';
  if (gathered_.empty()) gathered_since_ = now;
  gathered_ += taken;
  if (gathered_.size() >= max_frame_text_bytes || now >= last_flush_ + log_gather_time) flush(now);
}

void LogWriter::flush(Time now) {
  std::string_view left = gathered_;
  auto before = waiting_.size();
  while (!left.empty()) {
    auto text = left.substr(0, max_frame_text_bytes);
    append_frame(waiting_, {.offset = offset_, .time = gathered_since_, .step = gathered_key_.step, .stream = gathered_key_.stream, .text = text});
    offset_ += static_cast<std::int64_t>(text.size());
    left.remove_prefix(text.size());
  }
  file_left_ -= static_cast<std::int64_t>(waiting_.size() - before);
  gathered_.clear();
  last_flush_ = now;
  write_out();
}

void LogWriter::write_out() {
  std::size_t at = 0;
  while (at < waiting_.size()) {
    auto n = ::write(fd_, waiting_.data() + at, waiting_.size() - at);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    at += static_cast<std::size_t>(n);
  }
  waiting_.erase(0, at);
}

void LogWriter::tick(Time now) {
  if (!gathered_.empty() && now >= last_flush_ + log_gather_time) flush(now);
  else if (!waiting_.empty()) write_out();
}

Time LogWriter::due() const {
  if (!waiting_.empty()) return last_flush_ + std::chrono::milliseconds(100);
  return gathered_.empty() ? Time::max() : last_flush_ + log_gather_time;
}

bool LogWriter::holds_secret(std::string_view text) const {
  std::string masked;
  Masker masker(patterns_);
  masker.feed(text, masked);
  masker.finish(masked);
  return masked != text;
}

}  // namespace mayfly
