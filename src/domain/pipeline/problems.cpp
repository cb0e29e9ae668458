#include "domain/pipeline/problems.h"

#include <algorithm>

namespace mayfly {

void Problems::add(const std::string& file, Mark at, std::string message, std::string hint) {
  if (full()) {
    ++count_;
    return;
  }
  if (!seen_.emplace(file, at.line, at.column, message).second) return;
  ++count_;
  found_.push_back({file, at.line, at.column, std::move(message), std::move(hint)});
}

std::vector<Diagnostic> Problems::take() {
  std::ranges::sort(found_, {}, [](const Diagnostic& d) { return std::tie(d.file, d.line, d.column, d.message); });
  if (count_ > found_.size()) {
    auto last = found_.empty() ? Diagnostic{} : found_.back();
    found_.push_back({last.file, last.line, last.column, "and " + std::to_string(count_ - found_.size()) + " more problems",
                      "correct those above first"});
  }
  return std::move(found_);
}

std::string to_string(const Diagnostic& d) {
  auto text = d.file + ":" + std::to_string(d.line) + ":" + std::to_string(d.column) + ": " + d.message;
  if (!d.hint.empty()) text += ": " + d.hint;
  return text;
}

}  // namespace mayfly
