#pragma once
// The masker's meaning in its plainest form, for tests and the fuzzer: mark every byte of every occurrence, then write "***"
// for each run of occurrences that overlap.

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "domain/logs/masker.h"

namespace mayfly {

inline std::string naive_mask(const std::vector<std::string>& patterns, std::string_view text) {
  std::vector<std::size_t> reach(text.size());  // furthest end of an occurrence that begins here
  for (auto& pattern : patterns)
    for (auto at = text.find(pattern); at != text.npos; at = text.find(pattern, at + 1))
      reach[at] = std::max(reach[at], at + pattern.size());
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    if (reach[at] == 0) {
      out += text[at++];
      continue;
    }
    std::size_t end = reach[at];
    for (std::size_t i = at; i < end; ++i) end = std::max(end, reach[i]);
    out += mask_text;
    at = end;
  }
  return out;
}

}  // namespace mayfly
