#pragma once
// A subscription's positions are one number line over partitions that each count on their own. Pure.

#include <cstdint>
#include <deque>
#include <map>

namespace mayfly::kafka {

/// How many stretches of uncommitted messages are remembered. Past it the oldest is forgotten, which loses nothing: a commit
/// of a later one of the same partition covers it, and what is never committed comes again.
inline constexpr std::size_t max_stretches = 10'000;

class Positions final {
 public:
  /// Goes on after `last`.
  explicit Positions(std::int64_t last = 0) : last_(last) {}

  /// The position of the message polled next: one more than the last, for ever.
  std::int64_t add(std::int32_t partition, std::int64_t offset);

  /// For each partition, the offset after the last message up to and including the one at `position`; nothing for what was
  /// committed or dropped before.
  std::map<std::int32_t, std::int64_t> up_to(std::int64_t position) const;

  void committed(std::int64_t position);

  /// The partitions were given back: what was polled of them is another member's, or comes again.
  void drop() { stretches_.clear(); }

  std::int64_t last() const { return last_; }

 private:
  /// Messages polled one after the other whose offsets follow each other too.
  struct Stretch {
    std::int32_t partition;
    std::int64_t position, offset, count;
  };

  std::deque<Stretch> stretches_;
  std::int64_t last_;
};

}  // namespace mayfly::kafka
