#pragma once
// Takes secrets out of a log before its bytes reach a disk or a wire. Text comes in pieces of any size, and what goes out
// does not depend on where the pieces were cut: only the longest end that might become a secret is held back.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace mayfly {

inline constexpr std::string_view mask_text = "***";
inline constexpr std::size_t max_masked_pattern_bytes = 2 << 20;  // of all forms of all secrets together

/// What to look for: an Aho-Corasick automaton (Aho, Corasick 1975) over all forms of all secrets (secret_forms.h), built
/// once for all the streams of a job.
class MaskPatterns final {
 public:
  /// `secrets` beyond max_masked_pattern_bytes are counted in refused(), never dropped silently.
  static std::shared_ptr<const MaskPatterns> make(const std::vector<std::string>& secrets);
  /// Patterns looked for as they are; for tests.
  static std::shared_ptr<const MaskPatterns> of_literals(const std::vector<std::string>& patterns);

  /// Indices of secrets that are not masked: too short, or over the limit. Worth a warning.
  const std::vector<std::size_t>& refused() const { return refused_; }

 private:
  friend class Masker;
  using Node = std::uint32_t;
  struct State {
    Node child = 0;              // first of its children, a list by `sibling`; 0: none
    Node sibling = 0;
    Node fail = 0;
    std::uint32_t depth = 0;
    std::uint32_t match = 0;     // length of the longest pattern that ends here
    std::uint8_t byte = 0;
  };

  MaskPatterns();
  void add(std::string_view pattern);
  void finish();
  Node child(Node state, std::uint8_t byte) const;
  Node next(Node state, std::uint8_t byte) const;
  static std::size_t start_slot(const char* p);
  /// Could a pattern begin with the four bytes at `p`?
  bool may_start(const char* p) const { auto slot = start_slot(p); return starts_[slot / 64] >> (slot % 64) & 1; }

  std::vector<State> states_;
  std::vector<Node> first_;             // child of the root by byte
  std::vector<std::uint64_t> starts_;   // bit set over hashes of the patterns' first four bytes
  std::vector<std::size_t> refused_;
};

/// One stream. Every byte that is part of any occurrence of any pattern is hidden; occurrences that overlap become one "***".
class Masker final {
 public:
  explicit Masker(std::shared_ptr<const MaskPatterns> patterns) : patterns_(std::move(patterns)) {}

  /// Appends to `out` what can be said by now.
  void feed(std::string_view bytes, std::string& out);
  /// The stream has ended: what was held back is no secret.
  void finish(std::string& out);
  /// Bytes held back: always the start of a pattern.
  std::size_t held() const { return held_.size(); }

 private:
  struct Hidden {
    std::size_t begin;  // in held_ while feeding
    std::size_t end;
  };
  void hide(std::size_t begin, std::size_t end);
  void emit(std::string_view text, std::size_t upto, std::string& out);

  std::shared_ptr<const MaskPatterns> patterns_;
  MaskPatterns::Node state_ = 0;
  std::string held_;
  std::vector<Hidden> hidden_;          // in order, apart; positions in held_
  bool said_ = false;                   // the "***" of hidden_.front() is out already
};

}  // namespace mayfly
