#include "runner/init/last_lines.h"

#include "base/text.h"

namespace mayfly {

void LastLines::feed(std::string_view bytes) {
  while (!bytes.empty()) {
    auto end = bytes.find('\n');
    auto part = bytes.substr(0, end);
    auto room = max_bytes_ - open_.size();
    open_ += part.substr(0, room);
    cut_ += part.size() - std::min(room, part.size());
    if (end == bytes.npos) return;
    if (open_.ends_with('\r')) open_.pop_back();
    push(std::move(open_) + (cut_ > 0 ? "…" : ""));
    open_.clear();
    cut_ = 0;
    bytes.remove_prefix(end + 1);
  }
}

void LastLines::push(std::string line) {
  lines_.push_back(std::move(line));
  if (lines_.size() > max_lines_) lines_.pop_front();
}

std::vector<std::string> LastLines::lines() const {
  std::vector<std::string> out;
  for (auto& line : lines_) out.push_back(clean_text(line));
  if (!open_.empty()) out.push_back(clean_text(open_ + (cut_ > 0 ? "…" : "")));
  if (out.size() > max_lines_) out.erase(out.begin());
  return out;
}

}  // namespace mayfly
