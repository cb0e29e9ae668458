#pragma once
// A binary heap whose items can be moved and taken out from the middle: each item knows where it stands. The scheduler's
// lines are heaps within heaps of these, so the item is an index into a table whose rows have a field `at`.

#include <algorithm>
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

/// Smallest key first. Every member that moves items takes the table the items live in: `table[item].at` is theirs.
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
    auto at = table[item].at;
    bool less = key < slots_[at].key;
    slots_[at].key = key;
    less ? rise(at, table) : sink(at, table);
  }

  template <class Table>
  void remove(Index item, Table& table) {
    auto at = table[item].at;
    table[item].at = none;
    auto last = std::move(slots_.back());
    slots_.pop_back();
    if (at == slots_.size()) return;
    bool less = last.key < slots_[at].key;
    slots_[at] = std::move(last);
    less ? rise(at, table) : sink(at, table);
  }

 private:
  struct Slot {
    Key key;
    Index item;
  };

  template <class Table>
  void rise(std::size_t at, Table& table) {
    Slot moving = std::move(slots_[at]);
    while (at > 0) {
      auto parent = (at - 1) / 2;
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
      auto child = 2 * at + 1;
      if (child >= slots_.size()) break;
      if (child + 1 < slots_.size() && slots_[child + 1].key < slots_[child].key) ++child;
      if (!(slots_[child].key < moving.key)) break;
      settle(at, std::move(slots_[child]), table);
      at = child;
    }
    settle(at, std::move(moving), table);
  }

  template <class Table>
  void settle(std::size_t at, Slot slot, Table& table) {
    table[slot.item].at = Index(at);
    slots_[at] = std::move(slot);
  }

  std::vector<Slot> slots_;
};

/// Rows under stable indices; a freed row is used again.
template <class T>
class Slab {
 public:
  Index add(T value) {
    if (free_.empty()) {
      rows_.push_back(std::move(value));
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
  T& operator[](Index index) { return rows_[index]; }
  const T& operator[](Index index) const { return rows_[index]; }
  std::size_t size() const { return rows_.size(); }

 private:
  std::vector<T> rows_;
  std::vector<Index> free_;
};

}  // namespace mayfly::scheduling
