#include "domain/pipeline/glob.h"

#include <bitset>

namespace mayfly {
namespace {

// The pattern as an automaton: state i means "what is before byte i has matched". A state on a star stays alive.
using States = std::bitset<max_glob_bytes + 3>;

/// "**/" may stand for nothing; "**" and "*" too.
void follow_empty(std::string_view pattern, States& states) {
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    if (!states[i] || pattern[i] != '*') continue;
    bool two = pattern.substr(i).starts_with("**");
    states.set(i + (two ? 2 : 1));
    bool at_segment = i == 0 || pattern[i - 1] == '/';
    if (two && at_segment && pattern.substr(i + 2).starts_with("/")) states.set(i + 3);
  }
}

States step(std::string_view pattern, const States& states, char c) {
  States next;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    if (!states[i]) continue;
    if (pattern.substr(i).starts_with("**")) next.set(i);
    else if (pattern[i] == '*') { if (c != '/') next.set(i); }
    else if (pattern[i] == c || (pattern[i] == '?' && c != '/')) next.set(i + 1);
  }
  return next;
}

}  // namespace

bool glob_match(std::string_view pattern, std::string_view text) {
  if (pattern.size() > max_glob_bytes) return false;
  std::string whole(pattern);
  if (whole.ends_with('/')) whole += "**";
  States states;
  states.set(0);
  follow_empty(whole, states);
  for (char c : text) {
    states = step(whole, states, c);
    if (states.none()) return false;
    follow_empty(whole, states);
  }
  return states[whole.size()];
}

bool matches_filter(const std::vector<std::string>& patterns, std::string_view text) {
  bool matched = !patterns.empty() && patterns.front().starts_with('!');
  for (std::string_view pattern : patterns) {
    bool negated = pattern.starts_with('!');
    if (negated) pattern.remove_prefix(1);
    if (matched == negated && glob_match(pattern, text)) matched = !negated;
  }
  return matched;
}

}  // namespace mayfly
