#pragma once
// max_parallel: of a matrix only so many jobs run at once, and only so many stand in line. The others wait behind a gate,
// one for each shape, so that a shape nobody has room for does not take the places of the rest.

#include <boost/unordered/unordered_flat_map.hpp>
#include <map>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "domain/scheduling/tables.h"

namespace mayfly::scheduling {

class Groups {
 public:
  /// The group of that name in a build; of the limits it was ever given the smallest holds.
  Index join(Index build, std::string_view name, int max_parallel);
  void quit(Index group);  // a job of it is gone

  const Group& operator[](Index group) const { return groups_[group]; }
  bool full(Index group) const { return groups_[group].running >= groups_[group].max_parallel; }

  /// Puts a job that waits before its gate. Then admit() until it has nothing more, and retreat() likewise.
  void arrive(Index job, Tables&);
  /// The next job to let into line, or none.
  Index admit(Index gate);
  /// The last job in line when it stands before one that should, or there are too many: it goes back behind the gate.
  Index retreat(Index gate);
  void leave(Index job, Tables&);           // a waiting job is gone, from line or from behind the gate
  void run(Index group) { ++groups_[group].running; }
  void end(Index group) { --groups_[group].running; }

 private:
  using Entry = std::pair<JobKey, Index>;
  struct Gate {
    Index group = none, shape = none;
    std::set<Entry> behind, in_line;
  };

  Index gate_of(Index group, Index shape);
  std::size_t places(const Gate&) const;
  void drop_if_empty(Index gate);

  Slab<Group> groups_;
  Slab<Gate> gates_;
  std::map<std::pair<Index, std::string>, Index, std::less<>> by_name_;
};

}  // namespace mayfly::scheduling
