#pragma once
// A heap whose items can be moved and taken out from the middle: each item knows where it stands. The scheduler's
// lines are heaps within heaps of these, so the item is an index into a table that keeps its place besides its row.

#include <algorithm>
#include <boost/container/small_vector.hpp>
#include <cstdint>
#include <utility>
#include <vector>

namespace mayfly::scheduling {

using Index = std::uint32_t;
inline constexpr Index none = ~Index{0};

template <class Range, class T>
bool holds(const Range& range, const T& value) {
  return std::ranges::find(range, value) != std::ranges::end(range);
}

/// Smallest key first. Every member that moves items takes the table the items live in: `table.at(item)` is theirs.
template <class Key>
class Heap {
 public:
  bool empty() const { return slots_.empty(); }
  std::size_t size() const { return slots_.size(); }
  Index top() const { return slots_.front().item; }
  const Key& top_key() const { return slots_.front().key; }
  Index item(std::size_t at) const { return slots_[at].item; }
  const Key& key(std::size_t at) const { return slots_[at].key; }

  template <class Table>
  void push(Index item, const Key& key, Table& table) {
    slots_.push_back({key, item});
    rise(slots_.size() - 1, table);
  }

  template <class Table>
  void update(Index item, const Key& key, Table& table) {
    auto at = table.at(item);
    bool less = key < slots_[at].key;
    slots_[at].key = key;
    less ? rise(at, table) : sink(at, table);
  }

  template <class Table>
  void remove(Index item, Table& table) {
    auto at = table.at(item);
    table.at(item) = none;
    auto last = std::move(slots_.back());
    slots_.pop_back();
    if (at == slots_.size()) return;
    bool less = last.key < slots_[at].key;
    slots_[at] = std::move(last);
    less ? rise(at, table) : sink(at, table);
  }

 private:
  static constexpr std::size_t children = 4;

  struct Slot {
    Key key;
    Index item;
  };

  template <class Table>
  void rise(std::size_t at, Table& table) {
    Slot moving = std::move(slots_[at]);
    while (at > 0) {
      auto parent = (at - 1) / children;
      if (!(moving.key < slots_[parent].key)) break;
      settle(at, std::move(slots_[parent]), table);
      at = parent;
    }
    settle(at, std::move(moving), table);
  }

  template <class Table>
  void sink(std::size_t at, Table& table) {
    Slot moving = std::move(slots_[at]);
    for (;;) {
      auto child = children * at + 1;
      if (child >= slots_.size()) break;
      auto end = std::min(child + children, slots_.size());
      for (auto other = child + 1; other < end; ++other)
        if (slots_[other].key < slots_[child].key) child = other;
      if (!(slots_[child].key < moving.key)) break;
      settle(at, std::move(slots_[child]), table);
      at = child;
    }
    settle(at, std::move(moving), table);
  }

  template <class Table>
  void settle(std::size_t at, Slot slot, Table& table) {
    table.at(slot.item) = Index(at);
    slots_[at] = std::move(slot);
  }

  boost::container::small_vector<Slot, 1> slots_;  // most heaps are of one: no detour to reach it
};

/// Rows under stable indices; a freed row is used again.
template <class T>
class Slab {
 public:
  Index add(T value) {
    if (free_.empty()) {
      rows_.push_back(std::move(value));
      at_.push_back(none);
      return Index(rows_.size() - 1);
    }
    auto index = free_.back();
    free_.pop_back();
    rows_[index] = std::move(value);
    return index;
  }
  void free(Index index) {
    rows_[index] = T{};
    free_.push_back(index);
  }
  /// Where the row stands in the heap it is in; none: in no heap. Kept apart from the rows, so that moving things about
  /// in a heap touches little memory.
  Index& at(Index index) { return at_[index]; }
  T& operator[](Index index) { return rows_[index]; }
  const T& operator[](Index index) const { return rows_[index]; }
  std::size_t size() const { return rows_.size(); }

 private:
  std::vector<T> rows_;
  std::vector<Index> at_;
  std::vector<Index> free_;
};

}  // namespace mayfly::scheduling
