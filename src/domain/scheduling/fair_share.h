#pragma once
// Decides which waiting job gets the next runner, and where. Fed with facts and the time, it keeps no clock, thread or
// randomness: the same facts give the same decisions, in whatever order they came. A value: a copy decides alike.
//
// The order. Organizations, then within one its projects, go by who has least: what they hold now plus what they used,
// fading with a half-life of 30 minutes, of whichever resource they have most of, divided by their weight. A decision is
// charged when it is made, so there is no window in which a burst counts for nothing. Within a project builds take turns,
// those with the higher priority first; ten minutes of waiting weigh as much as one class of priority, so nothing starves.
//
// A shape that finds no room is set aside until capacity it could use comes free: those behind it go on. A big job that
// small ones keep slipping past gets a pool reserved (reserve_after).

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "domain/scheduling/groups.h"
#include "domain/scheduling/order.h"
#include "domain/scheduling/pools.h"
#include "domain/scheduling/types.h"

namespace mayfly::scheduling {

/// Jobs held in memory at once. The others stay in the database and are fed when some have left.
inline constexpr std::size_t max_jobs = 200'000;

/// How long others may be started while fair order wants a job that fits no pool's free room, before a pool is kept free
/// for it. A pool is reserved for one shape at a time.
inline constexpr Duration reserve_after = std::chrono::minutes(1);
/// How often that is looked at.
inline constexpr Duration reserve_check = std::chrono::seconds(5);

class FairShare {
 public:
  /// `usage`: what usage() of an earlier one said. Without it everybody starts with what their running jobs have had.
  explicit FairShare(const UsageSnapshot& usage = {});

  // Facts. An organization or project never mentioned has weight 1. Weights outside [0.001, 1000] are brought into it.
  void set_organization(OrganizationId, std::string name, OrganizationShare share);
  void set_project(ProjectId, OrganizationId, double weight);
  void set_pool(PoolState);
  void remove_pool(std::string_view name);  // what runs there runs on, and is released as ever

  /// Puts a job in line. A job already waiting or running stays as it is. False: max_jobs are known already.
  bool enqueue(const QueuedJob&);
  /// Takes a waiting job out (canceled, or gone). A running one is not touched: it ends with released().
  void remove(JobId, Time now);
  /// A runner holds `pool`'s resources for this job since then, whoever decided it. If it waited, it does no more.
  /// False: max_jobs are known already.
  bool add_running(const QueuedJob&, std::string_view pool, Time started_at);
  /// The runner is gone, or a decision came to nothing: the resources are free. Enqueue the job again to retry it.
  void released(JobId, Time now);

  /// The next job to start now, which from here on counts as running in that pool; nullopt when nothing fits.
  std::optional<Decision> next(Time now);
  /// When next() could answer differently with no new facts. nullopt: not before a fact changes.
  std::optional<Time> wake_at() const;

  /// Why a job waits, its place and what would release it. The place is exact for lines of up to
  /// places_exact_up_to jobs, else up to a second old.
  WaitReason why(JobId, Time now);

  std::vector<OrganizationStatistics> statistics(Time now);  // by organization id
  std::vector<PoolStatistics> pool_statistics() const;         // by name
  /// Jobs that could start now, were there room; those in backoff are not counted. Takes time in the number of jobs.
  std::vector<ShapeStatistics> queue_statistics(Time now) const;  // by shape
  std::size_t waiting() const { return waiting_; }
  std::size_t running() const { return running_; }
  UsageSnapshot usage(Time now);

 private:
  struct Places {
    Time at{};
    std::uint64_t facts = 0;
    ById<JobId, int> place;
  };

  double grow(Time);
  void advance(Time now);
  Index organization(OrganizationId);
  Index project(ProjectId, OrganizationId);
  Index build(BuildId, Time served);
  Index shape(const Shape&);
  Index add(const QueuedJob&, Index organization, Index project);

  void arrive(Index job);                  // it may start: before its gate, or into line
  void into_line(Index job);
  void out_of_line(Index job);
  void regate(Index group);
  void unshelve(Index job);                // out of wherever it waits
  void release_due(Time now);
  void settle_newcomers();
  void start(Index job, Index pool, Time at);
  void forget(Index job);
  void contend(Index job);
  void uncontend(Index job);

  Index pool_for(Index shape) const;
  bool reserve_for_passed(Index chosen, Time now);
  void close_lane(Index shape);
  void unreserve(Index shape);
  void wake(Index pool);
  void pools_changed();
  void able_changed(Index shape);
  void drop_shape(Index shape);
  bool above_max_share(const Organization&, const Resources& needs) const;

  const Places& places(Index organization, Time now);
  WaitReason reason(const Job&, Time now) const;
  WaitReason impossible(const ShapeClass&) const;
  WaitReason room_for(const Job&) const;

  Tables t_;
  Growth growth_;
  Order order_;
  Groups groups_;
  Pools pools_;
  Contenders contenders_;                       // organizations
  std::vector<Index> unsettled_;                // organizations whose projects have newcomers
  Heap<std::pair<Time, JobId>> delayed_;
  std::vector<Index> reserved_;                 // shapes with a pool
  Time reserve_checked_{};
  ById<JobId, Index> jobs_;
  ById<OrganizationId, Index> organizations_;
  ById<ProjectId, Index> projects_;
  ById<BuildId, Index> builds_;
  std::map<Shape, Index> shapes_;
  boost::unordered_flat_map<Index, Places> places_;
  std::uint64_t facts_ = 0;                     // counts changes, so that cached places are known to be old
  std::size_t waiting_ = 0, running_ = 0;
};

inline constexpr int places_exact_up_to = 2'000;

}  // namespace mayfly::scheduling
