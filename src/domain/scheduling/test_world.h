#pragma once
// A small cluster for tests to tell stories with: ids from numbers, jobs in one line, runners that end when told.

#include <deque>
#include <map>

#include "domain/scheduling/fair_share.h"

namespace mayfly::scheduling::test {

inline constexpr std::int64_t GiB = std::int64_t(1) << 30;
inline const Time noon = parse_rfc3339("2026-03-01T12:00:00Z").value();

template <class IdType>
IdType id(std::uint64_t n) {
  IdType out;
  for (int i = 0; i < 8; ++i) out.value.bytes[std::size_t(15 - i)] = std::uint8_t(n >> (8 * i));
  return out;
}

struct JobLine {
  int job = 0;
  int organization = 1;
  int project = 0;  // 0: the organization's only one
  int build = 0;    // 0: the project's only one
  std::int64_t cpu = 1000;
  std::int64_t memory = GiB;
  Priority priority = Priority::normal;
  Time queued_at = noon;
};

inline QueuedJob job(JobLine j) {
  int project = j.project ? j.project : j.organization * 1000;
  return {.job = id<JobId>(std::uint64_t(j.job)),
          .build = id<BuildId>(std::uint64_t(j.build ? j.build : project * 1000)),
          .project = id<ProjectId>(std::uint64_t(project)),
          .organization = id<OrganizationId>(std::uint64_t(j.organization)),
          .shape = {.cpu_milli = j.cpu, .memory_bytes = j.memory, .labels = {}, .isolation = {}, .fork = false},
          .priority = j.priority,
          .queued_at = j.queued_at,
          .not_before = {},
          .matrix_group = {},
          .max_parallel = 0,
          .build_served_at = {}};
}

inline PoolState pool(std::string name, std::int64_t cpus, std::int64_t memory = 1024 * GiB, std::int64_t slots = 100'000) {
  return {.name = std::move(name),
          .capacity = {cpus * 1000, memory, slots},
          .labels = {},
          .isolations = {Isolation::sandbox}};
}

inline int number(JobId id) {
  int out = 0;
  for (int i = 12; i < 16; ++i) out = out << 8 | id.value.bytes[std::size_t(i)];
  return out;
}

/// Every job next() starts now, in order.
inline std::vector<int> start_all(FairShare& scheduler, Time now) {
  std::vector<int> out;
  while (auto decision = scheduler.next(now)) out.push_back(number(decision->job));
  return out;
}

inline void release(FairShare& scheduler, const std::vector<int>& jobs, Time now) {
  for (int job : jobs) scheduler.released(id<JobId>(std::uint64_t(job)), now);
}

}  // namespace mayfly::scheduling::test
