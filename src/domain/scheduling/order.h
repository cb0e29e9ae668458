#pragma once
// The fair order of jobs that may start: heaps within heaps (see tables.h). Shapes that found no room are parked, so a
// decision looks only at shapes that may still fit, and costs the logarithm of the number of organizations.

#include "domain/scheduling/tables.h"

namespace mayfly::scheduling {

class Order {
 public:
  // Every function takes the tables it works on: Order holds only what is its own, so that the whole scheduler copies.

  void insert(Index job, Tables&);   // Job::state becomes ready
  void erase(Index job, Tables&);

  /// An open shape that may be the one with the first job of all, or none when no shape is open. first_open() makes sure.
  Index likely_first_open() const { return open_.empty() ? none : open_.top(); }
  /// The open shape whose first job is first of all, or none.
  Index first_open(Tables&);
  /// The parked shape whose first job is first of all parked ones, or none.
  Index first_parked(Tables&);
  /// The first job of a shape that one of the two above has just named.
  Index job(Index shape, const Tables&) const;
  Index lane(Index shape, const Tables& t) const { return t.shapes[shape].lanes.top(); }
  const Rank& rank(Index shape, const Tables& t) const { return t.shapes[shape].lanes.top_key(); }

  void move(Index shape, ShapeClass::Place to, Tables&);
  const Heap<Rank>& parked() const { return parked_; }

  /// Takes a lane out until open_lanes() of its organization.
  void close_lane(Index lane, Tables&);
  void open_lanes(Index organization, Tables&);

  // What somebody is compared by became smaller, or their weight changed.
  void reorder_organization(Index, Tables&);
  void reorder_project(Index, Tables&);
  void reorder_build(Index, Tables&);
  /// Everything changed at once (capacity, a new origin of growth).
  void reorder_all(Tables&);

  /// Every ready job of a shape, or of an organization, in no particular order.
  std::vector<Index> jobs_of_shape(Index shape, const Tables&) const;
  std::vector<Index> jobs_of_organization(Index organization, const Tables&) const;

  // The keys, for whoever foretells the order.
  static float organization_key(const Organization&, const Tables&);
  static float project_key(const Project&, const Tables&);
  static std::int64_t turn(const JobKey& first, Priority priority, Time served);
  static std::int64_t turn_after(Time served, Priority priority);

 private:
  Rank line_rank(const Line&, const Tables&) const;
  static Rank refreshed(Rank, const Tables&);
  Rank row_rank(const Row&, const Tables&) const;
  Rank lane_rank(const Lane&, const Tables&) const;
  void touch_line(Index, Tables&);
  void touch_row(Index, Tables&);
  void touch_lane(Index, Tables&);
  void touch_shape(Index, Tables&);
  bool settle_row(Index, Tables&);
  bool settle_lane(Index, Tables&);
  bool settle_shape(Index, Tables&);
  Index first(Heap<Rank>& shapes, Tables&);
  void gather(Index lane, std::vector<Index>& out) const;
  Heap<Rank>* heap_of(ShapeClass::Place);

  Index lane_of(Index shape, Index organization, Tables&);
  Index row_of(Index lane, Index project, Tables&);
  Index line_of(Index row, Index build, Tables&);
  void drop_line(Index, Tables&);
  void drop_row(Index, Tables&);
  void drop_lane(Index, Tables&);

  using Pairs = boost::unordered_flat_map<std::uint64_t, Index>;
  Slab<Lane> lanes_;
  Slab<Row> rows_;
  Slab<Line> lines_;
  Pairs lane_by_, row_by_, line_by_;
  Heap<Rank> open_, parked_;  // of shapes
};

}  // namespace mayfly::scheduling
