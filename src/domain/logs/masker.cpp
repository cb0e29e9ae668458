#include "domain/logs/masker.h"

#include <algorithm>
#include <cassert>
#include <cstring>

#include "domain/logs/secret_forms.h"

namespace mayfly {
namespace {

constexpr std::size_t start_bytes = 4;   // patterns shorter than this turn the look-ahead off
constexpr unsigned start_bits = 16;

}  // namespace

MaskPatterns::MaskPatterns() : states_(1), first_(256), starts_((1u << start_bits) / 64) {}

std::size_t MaskPatterns::start_slot(const char* p) {
  std::uint32_t word;
  std::memcpy(&word, p, sizeof word);
  return word * 0x9E3779B1u >> (32 - start_bits);
}

MaskPatterns::Node MaskPatterns::child(Node state, std::uint8_t byte) const {
  if (state == 0) return first_[byte];
  Node c = states_[state].child;
  while (c != 0 && states_[c].byte != byte) c = states_[c].sibling;
  return c;
}

MaskPatterns::Node MaskPatterns::next(Node state, std::uint8_t byte) const {
  for (;;) {
    Node c = child(state, byte);
    if (c != 0 || state == 0) return c;
    state = states_[state].fail;
  }
}

void MaskPatterns::add(std::string_view pattern) {
  assert(!pattern.empty());
  Node at = 0;
  for (char c : pattern) {
    auto byte = static_cast<std::uint8_t>(c);
    Node next = child(at, byte);
    if (next == 0) {
      next = static_cast<Node>(states_.size());
      Node& head = at == 0 ? first_[byte] : states_[at].child;
      State made{.sibling = head, .depth = states_[at].depth + 1, .byte = byte};
      head = next;
      states_.push_back(made);
    }
    at = next;
  }
  states_[at].match = states_[at].depth;
  if (pattern.size() < start_bytes) {
    std::ranges::fill(starts_, ~std::uint64_t{0});
  } else {
    auto slot = start_slot(pattern.data());
    starts_[slot / 64] |= std::uint64_t{1} << (slot % 64);
  }
}

/// Breadth first: a state's failure is the state of its longest proper suffix that is a prefix of a pattern.
void MaskPatterns::finish() {
  std::vector<Node> queue;
  for (Node c : first_)
    if (c != 0) queue.push_back(c);
  for (std::size_t i = 0; i < queue.size(); ++i) {
    Node at = queue[i];
    if (states_[at].match == 0) states_[at].match = states_[states_[at].fail].match;
    for (Node c = states_[at].child; c != 0; c = states_[c].sibling) {
      states_[c].fail = next(states_[at].fail, states_[c].byte);
      queue.push_back(c);
    }
  }
}

std::shared_ptr<const MaskPatterns> MaskPatterns::make(const std::vector<std::string>& secrets) {
  std::shared_ptr<MaskPatterns> patterns(new MaskPatterns);
  std::size_t total = 0;
  for (std::size_t i = 0; i < secrets.size(); ++i) {
    bool hopeless = secrets[i].size() > max_masked_pattern_bytes / 8;  // base64 and hex alone are more than eight times it
    auto forms = hopeless ? std::vector<std::string>{} : secret_forms(secrets[i]);
    std::size_t bytes = 0;
    for (auto& form : forms) bytes += form.size();
    if (forms.empty() || total + bytes > max_masked_pattern_bytes) {
      patterns->refused_.push_back(i);
      continue;
    }
    total += bytes;
    for (auto& form : forms) patterns->add(form);
  }
  patterns->finish();
  return patterns;
}

std::shared_ptr<const MaskPatterns> MaskPatterns::of_literals(const std::vector<std::string>& literals) {
  std::shared_ptr<MaskPatterns> patterns(new MaskPatterns);
  for (auto& literal : literals) patterns->add(literal);
  patterns->finish();
  return patterns;
}

void Masker::hide(std::size_t begin, std::size_t end) {
  while (!hidden_.empty() && begin < hidden_.back().end) {
    begin = std::min(begin, hidden_.back().begin);
    hidden_.pop_back();
  }
  hidden_.push_back({begin, end});
}

void Masker::emit(std::string_view text, std::size_t upto, std::string& out) {
  std::size_t at = 0;
  std::size_t done = 0;
  for (; done < hidden_.size() && hidden_[done].begin < upto; ++done) {
    auto [begin, end] = hidden_[done];
    out.append(text.substr(at, begin - at));
    if (!said_) out.append(mask_text);
    at = std::min(end, upto);
    said_ = end > upto;
    if (said_) break;
  }
  out.append(text.substr(at, upto - at));
  hidden_.erase(hidden_.begin(), hidden_.begin() + static_cast<std::ptrdiff_t>(done));
  for (auto& h : hidden_) h = {std::max(h.begin, upto) - upto, h.end - upto};
}

void Masker::feed(std::string_view bytes, std::string& out) {
  std::size_t at = held_.size();
  if (at != 0) held_.append(bytes);
  std::string_view text = at != 0 ? std::string_view(held_) : bytes;
  auto& patterns = *patterns_;
  auto state = state_;
  while (at < text.size()) {
    if (state == 0) {
      while (at + start_bytes <= text.size() && !patterns.may_start(text.data() + at)) ++at;
    }
    state = patterns.next(state, static_cast<std::uint8_t>(text[at++]));
    if (auto length = patterns.states_[state].match; length != 0) hide(at - length, at);
  }
  state_ = state;
  std::size_t known = text.size() - patterns.states_[state].depth;
  emit(text, known, out);
  held_ = std::string(text.substr(known));
}

void Masker::finish(std::string& out) {
  emit(held_, held_.size(), out);
  held_.clear();
  state_ = 0;
}

}  // namespace mayfly
