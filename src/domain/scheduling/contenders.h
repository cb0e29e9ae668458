#pragma once
// Who shares something at the moment, and from where a newcomer starts. Idling earns no credit: somebody who comes back
// starts no lower than the least of those already there, so a quiet month does not buy an hour of everything, and having
// used what nobody else wanted costs nothing.

#include <algorithm>
#include <vector>

#include "domain/scheduling/account.h"
#include "domain/scheduling/heap.h"

namespace mayfly::scheduling {

/// One account's part in it.
struct Standing {
  int contending = 0;    // jobs in line or running
  bool fresh = false;    // came since the last settle()
  bool returning = false;  // was here before a restart: its record says all
  Index at = none;
};

class Contenders {
 public:
  double floor = 0;  // the highest level a newcomer was ever raised to, in grown share-seconds

  /// True when `item` came in and settle() is due.
  template <class Table>
  bool enter(Index item, Table& table) {
    auto& standing = table[item].standing;
    if (standing.contending++ > 0) return false;
    standing.at = Index(active_.size());
    active_.push_back(item);
    if (std::exchange(standing.returning, false)) return false;
    standing.fresh = true;
    fresh_.push_back(item);
    return true;
  }

  template <class Table>
  void leave(Index item, Table& table, double growth, const Resources& capacity) {
    auto& standing = table[item].standing;
    if (--standing.contending > 0) return;
    auto last = active_.back();
    table[last].standing.at = standing.at;
    active_[standing.at] = last;
    active_.pop_back();
    if (standing.fresh) {
      standing.fresh = false;
      std::erase(fresh_, item);
    } else if (active_.empty()) {
      floor = std::max(floor, table[item].account.used_share(growth, capacity));
    }
  }

  /// Newcomers start where the least of the others is. All who came since the last time are one batch, so the order in
  /// which they were heard of does not matter.
  template <class Table>
  void settle(Table& table, double growth, const Resources& capacity) {
    if (fresh_.empty()) return;
    bool others = false;
    double least = 0;
    for (auto item : active_) {
      if (table[item].standing.fresh) continue;
      double used = table[item].account.used_share(growth, capacity);
      least = others ? std::min(least, used) : used;
      others = true;
    }
    if (others) floor = std::max(floor, least);
    for (auto item : fresh_) {
      table[item].account.lift(floor, growth, capacity);
      table[item].standing.fresh = false;
    }
    fresh_.clear();
  }

 private:
  std::vector<Index> active_;
  std::vector<Index> fresh_;
};

}  // namespace mayfly::scheduling
