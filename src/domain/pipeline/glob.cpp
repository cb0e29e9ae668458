#include "domain/pipeline/glob.h"

#include <algorithm>

namespace mayfly {

// State i means: the tokens before the i-th have matched. Runs of stars are one token, so one look at each is enough.
Glob::Glob(std::string_view pattern) : too_long_(pattern.size() > max_glob_bytes) {
  if (too_long_) return;
  std::string whole(pattern);
  if (whole.ends_with('/')) whole += "**";
  for (std::size_t i = 0; i < whole.size();) {
    auto rest = std::string_view(whole).substr(i);
    auto stars = std::min(rest.find_first_not_of('*'), rest.size());
    bool at_segment = i == 0 || whole[i - 1] == '/';
    if (stars == 0) {
      if (rest[0] == '?') any_.set(size_);
      else literal_[static_cast<unsigned char>(rest[0])].set(size_);
      ++size_, ++i;
      continue;
    }
    i += stars;
    if (stars >= 2 && at_segment && i < whole.size() && whole[i] == '/') {
      while (std::string_view(whole).substr(i).starts_with("/**/")) i += 3;
      skips_.set(size_);
    }
    (stars >= 2 ? across_ : within_).set(size_);
    stars_.set(size_);
    ++size_;
  }
}

Glob::States Glob::widened(States states) const {
  states |= (states & skips_) << 2;
  return states | (states & stars_) << 1;
}

bool Glob::matches(std::string_view text) const {
  if (too_long_) return false;
  States states;
  states.set(0);
  states = widened(states);
  for (char c : text) {
    auto takes = literal_[static_cast<unsigned char>(c)];
    auto stays = across_;
    if (c != '/') takes |= any_, stays |= within_;
    states = (states & takes) << 1 | (states & stays);
    if (states.none()) return false;
    states = widened(states);
  }
  return states[size_];
}

bool glob_match(std::string_view pattern, std::string_view text) { return Glob(pattern).matches(text); }

Filter::Filter(const std::vector<std::string>& patterns) {
  for (std::string_view pattern : patterns) {
    bool negated = pattern.starts_with('!');
    rules_.push_back({negated, Glob(negated ? pattern.substr(1) : pattern)});
  }
}

bool Filter::matches(std::string_view text) const {
  bool matched = !rules_.empty() && rules_.front().negated;
  for (auto& rule : rules_)
    if (matched == rule.negated && rule.glob.matches(text)) matched = !rule.negated;
  return matched;
}

bool matches_filter(const std::vector<std::string>& patterns, std::string_view text) { return Filter(patterns).matches(text); }

}  // namespace mayfly
