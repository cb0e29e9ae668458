#pragma once
// The rows the scheduler keeps, and how they hang together:
//
//   shape ─▶ lanes (one an organization) ─▶ rows (one a project) ─▶ lines (one a build) ─▶ jobs
//
// Each arrow is a heap, so the first job of a shape in fair order is at the end of the tops.

#include <boost/unordered/unordered_flat_map.hpp>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "domain/scheduling/account.h"
#include "domain/scheduling/contenders.h"
#include "domain/scheduling/heap.h"
#include "domain/scheduling/types.h"

namespace mayfly::scheduling {

template <class K, class V>
using ById = boost::unordered_flat_map<K, V, std::hash<K>>;

/// A build's jobs in order: those queued first, where each class of priority counts as aging_step of waiting.
struct JobKey {
  std::int64_t turn = 0;  // microseconds
  std::uint64_t tie = 0;  // between equals: of the job's id

  auto operator<=>(const JobKey&) const = default;
};

/// The fair order, most significant first. Ranks kept in heaps are lower bounds: all of it only grows while time passes
/// and runners are given, and what makes it smaller (a job ends) is corrected at once.
struct Rank {
  float organization = 0;  // the account's share, see Order
  float project = 0;
  std::int64_t turn = 0;   // like JobKey's, but at least when the build was last given a runner: builds take turns
  int running = 0;         // of the build
  Priority priority = Priority::normal;  // of the job
  std::uint64_t tie = 0;
  // Whose these are: enough to see whether a rank is out of date without a look at what it ranks.
  Index project_at = none, build_at = none;

  bool operator==(const Rank&) const = default;
  bool operator<(const Rank& o) const {
    if (organization != o.organization) return organization < o.organization;
    if (project != o.project) return project < o.project;
    if (turn != o.turn) return turn < o.turn;
    if (running != o.running) return running < o.running;
    return tie < o.tie;
  }
};

enum class JobState : std::uint8_t {
  delayed,  // until not_before
  gated,    // behind max_parallel
  stuck,    // no pool could run its shape
  ready,    // in a line
  running,  // holds a pool's resources
};

struct Job {
  JobId id;
  Time queued_at{};
  Time not_before{};
  Resources needs;
  Index organization = none, project = none, build = none;
  Index shape = none;        // while it waits
  Index gate = none;         // of its group and shape, while it waits
  Index group = none;
  Index line = none;         // while ready
  Index pool = none;         // while running
  std::uint64_t reservation = 0;
  Priority priority = Priority::normal;
  JobState state = JobState::delayed;

  JobKey key() const;
};

struct Organization {
  Account account;
  OrganizationShare share;
  OrganizationId id;
  std::string name;
  Standing standing;
  Contenders projects;
  std::vector<Index> lanes;
  bool capped = false;       // some of its lanes are closed by max_share
  std::int64_t waiting = 0, running = 0;
};

struct Project {
  Account account;
  ProjectId id;
  Index organization = none;
  Standing standing;
  std::vector<Index> rows;
};

struct Build {
  BuildId id;
  Time served{};
  int running = 0;
  int jobs = 0;
  std::vector<Index> lines;
};

struct ShapeClass {
  enum class Place : std::uint8_t { idle, open, parked, reserved };

  Shape shape;
  Resources needs;
  std::vector<Index> able;           // pools, see Pools::able
  int jobs = 0;                      // that wait
  Place place = Place::idle;
  Index reserved_pool = none;
  std::optional<Time> passed_since;  // since when others were started while fair order wanted this one
  Heap<Rank> lanes;
  Heap<JobKey> stuck;
};

struct Lane {
  Index shape = none, organization = none;
  Heap<Rank> rows;
  bool closed = false;  // by max_share: not in its shape's heap
};

struct Row {
  Index lane = none, project = none;
  Heap<Rank> lines;
};

struct Line {
  Index row = none, build = none;
  Heap<JobKey> jobs;
};

/// Jobs of one build and matrix, of any shape.
struct Group {
  Index build = none;
  std::string name;
  int max_parallel = 0;
  int running = 0;
  int jobs = 0;
  std::vector<Index> gates;
};

struct Tables {
  Slab<Job> jobs;
  Slab<Organization> organizations;
  Slab<Project> projects;
  Slab<Build> builds;
  Slab<ShapeClass> shapes;

  double growth = 1;    // of the newest moment heard of
  Resources total;      // of all pools
};

inline constexpr Duration aging_step = std::chrono::minutes(10);

}  // namespace mayfly::scheduling
