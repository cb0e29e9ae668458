#pragma once
// Where runners can be started, and what is left there. Choosing a pool for a shape, and keeping one free for a job too
// big to find a hole among small ones.

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "domain/scheduling/heap.h"
#include "domain/scheduling/types.h"

namespace mayfly::scheduling {

struct Pool {
  PoolState state;
  bool present = false;        // false: known only by what runs there
  Resources held;
  Index reserved_for = none;   // a shape
  Resources reserved;          // what that shape needs
  Resources held_since;        // by what started beside the reservation
  std::uint64_t reservation = 0;

  bool open() const { return present && state.takes_jobs(); }
  Resources free() const { return state.capacity - held; }
};

class Pools {
 public:
  Index at(std::string_view name);  // unknown names become pools without capacity
  const Pool& operator[](Index pool) const { return pools_[pool]; }
  std::size_t size() const { return pools_.size(); }

  Index set(PoolState state);
  Index remove(std::string_view name);

  /// What all pools that take jobs have, used or not.
  const Resources& total() const { return total_; }

  /// Pools that could run `shape` if nothing else ran, best first: those with the fewest labels and isolations it does
  /// not ask for, then by name.
  std::vector<Index> able(const Shape& shape) const;

  /// What jobs of the shape numbered `shape` may take in `pool` now.
  Resources room(Index pool, Index shape) const;

  /// The pool of `able` to start a job in, or none: of those with equally few extras the one it fits most tightly.
  Index choose(const std::vector<Index>& able, Index shape, const Resources& needs) const;

  /// Holds resources; the answer goes back with release().
  std::uint64_t hold(Index pool, const Resources& what);
  void release(Index pool, const Resources& what, std::uint64_t reservation);

  /// Keeps the pool of `able` that misses least of what `shape` needs free for it, or none when all are reserved.
  /// Others may still start there as far as the pool's capacity exceeds the reservation.
  Index reserve(const std::vector<Index>& able, Index shape, const Resources& needs);
  void unreserve(Index pool);

 private:
  void add_up();
  std::size_t extras(Index pool) const { return pools_[pool].state.labels.size() + pools_[pool].state.isolations.size(); }

  std::vector<Pool> pools_;
  std::map<std::string, Index, std::less<>> by_name_;
  Resources total_;
};

bool offers_labels(const PoolState&, const Shape&);
/// What a job of `shape` runs under in this pool: the weakest it offers that is as strong as what the job asks for, the
/// pool's floor and, for a build of a fork, the floor for those. nullopt: it cannot run there.
std::optional<Isolation> isolation_in(const PoolState&, const Shape&);

}  // namespace mayfly::scheduling
