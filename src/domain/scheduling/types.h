#pragma once
// The words of scheduling: what a job asks for, what a pool has, and why a job still waits. Values only.

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/time.h"
#include "domain/pipeline/plan.h"

namespace mayfly::scheduling {

/// Amounts of what pools share out. A running job takes one slot besides its cpu and memory.
struct Resources {
  std::int64_t cpu_milli = 0;
  std::int64_t memory_bytes = 0;
  std::int64_t slots = 0;

  static constexpr std::size_t kinds = 3;
  std::array<std::int64_t, kinds> each() const { return {cpu_milli, memory_bytes, slots}; }

  bool operator==(const Resources&) const = default;
  Resources& operator+=(const Resources& o) {
    cpu_milli += o.cpu_milli, memory_bytes += o.memory_bytes, slots += o.slots;
    return *this;
  }
  Resources& operator-=(const Resources& o) {
    cpu_milli -= o.cpu_milli, memory_bytes -= o.memory_bytes, slots -= o.slots;
    return *this;
  }
  friend Resources operator+(Resources a, const Resources& b) { return a += b; }
  friend Resources operator-(Resources a, const Resources& b) { return a -= b; }
  bool fits_in(const Resources& room) const {
    return cpu_milli <= room.cpu_milli && memory_bytes <= room.memory_bytes && slots <= room.slots;
  }
};

/// What a job asks of a pool. Jobs of equal shape are one class: if one of them fits nowhere, none does.
struct Shape {
  std::int64_t cpu_milli = 1000;
  std::int64_t memory_bytes = std::int64_t(1) << 30;
  std::vector<std::string> labels;  // the pool must have them all; order and repetition do not matter
  std::optional<Isolation> isolation;   // the pool must offer one as strong
  bool fork = false;                // of a build of a fork: the pool's floor for those holds

  auto operator<=>(const Shape&) const = default;
  Resources resources() const { return {cpu_milli, memory_bytes, 1}; }
};

/// A job that may start as far as its build is concerned.
struct QueuedJob {
  JobId job;
  BuildId build;
  ProjectId project;
  OrganizationId organization;
  Shape shape;
  Priority priority = Priority::normal;
  Time queued_at{};
  Time not_before{};          // retry backoff; the epoch: at once
  std::string matrix_group;   // jobs of one build with the same name here share max_parallel; empty: none
  int max_parallel = 0;       // 0: no limit
  Time build_served_at{};     // when a job of its build was last given a runner; the epoch: never

  bool operator==(const QueuedJob&) const = default;
};

/// A place runners can be started, as its reconciler reports it.
struct PoolState {
  std::string name;
  Resources capacity;                   // all of it, used or not
  std::vector<std::string> labels;
  std::vector<Isolation> isolations;    // what it can start runners under
  Isolation floor = Isolation::sandbox;         // nothing starts below it
  Isolation fork_floor = Isolation::sandbox;    // nor, below this, a build of a fork
  bool draining = false;                // what runs may end; nothing new starts
  bool silent = false;                  // nobody who keeps it has been heard of: nothing new starts either

  bool takes_jobs() const { return !draining && !silent; }
  bool operator==(const PoolState&) const = default;
};

/// How much of everything an organization is meant to get. Shares are fractions of all pools' capacity, 0 to 1.
struct OrganizationShare {
  double weight = 1;
  double guaranteed_share = 0;  // while it holds less than this, it goes before those who have theirs
  double max_share = 1;         // it never holds more than this, except that one job may always run

  bool operator==(const OrganizationShare&) const = default;
};

struct Decision {
  JobId job;
  std::string pool;

  bool operator==(const Decision&) const = default;
};

/// Why a job waits.
struct WaitReason {
  enum class Kind {
    unknown,         // the scheduler has no such job
    running,         // it does not wait: it holds a runner
    turn,            // a runner is free and others go first
    capacity,        // no pool has room for it now
    not_before,      // a retry waits out its backoff
    max_parallel,    // its matrix has as many running as it may
    max_share,       // its organization has as much as it may
    no_pool,         // no pool has the labels, or can isolate it as it must be
    too_large,       // no pool is large enough
  };
  Kind kind = Kind::unknown;
  int place = 0;         // from 1, in its organization's line; 0: not in line, something else comes first
  int line = 0;          // how many stand in that line
  std::string sentence;  // "2nd of 9 in acme; a runner with 2 cpu"

  bool operator==(const WaitReason&) const = default;
};

struct OrganizationStatistics {
  OrganizationId organization;
  std::string name;
  std::int64_t waiting = 0;
  std::int64_t running = 0;
  double held_share = 0;  // dominant share of all capacity it holds now, 0 to 1
  double usage_share = 0; // dominant share of all capacity it had over the last half-lives, decayed, 0 to about 1

  bool operator==(const OrganizationStatistics&) const = default;
};

struct PoolStatistics {
  std::string pool;
  Resources capacity;
  Resources held;         // slots: how many jobs

  bool operator==(const PoolStatistics&) const = default;
};

/// Jobs of one shape that wait.
struct ShapeStatistics {
  Shape shape;
  std::int64_t waiting = 0;
  Duration longest{};                // since the one that waits longest could have started
  std::vector<std::string> pools;    // that could run them; none: they wait for a pool

  bool operator==(const ShapeStatistics&) const = default;
};

/// What a scheduler cannot learn again from the queue: who has had how much. Kept by whoever restarts one.
struct UsageRecord {
  OrganizationId organization;
  ProjectId project;                              // nil: the organization's own
  std::array<double, Resources::kinds> used{};    // resource-seconds (milli-cpu, bytes, slots), decayed to `at`
  double floor = 0;                               // of an organization's projects, see FairShare
  bool contending = false;

  bool operator==(const UsageRecord&) const = default;
};

struct UsageSnapshot {
  Time at{};
  double floor = 0;
  std::vector<UsageRecord> records;

  bool operator==(const UsageSnapshot&) const = default;
};

}  // namespace mayfly::scheduling
