#pragma once
// Builds and jobs as rows: reading an aggregate whole, and the statements that store a change of it. All SQL about
// builds, jobs, attempts, events and the outbox stands in records.cpp.

#include <string>
#include <vector>

#include "domain/build/latency.h"
#include "domain/build/state.h"
#include "ports/clock.h"
#include "ports/database.h"

namespace mayfly {

/// What a build is besides its state: set once, when it is made.
struct BuildHeader {
  BuildId id;
  ProjectId project;
  OrganizationId organization;
  std::int64_t number = 0;           // 1, 2, 3… in its project; given by the database
  std::string trigger_type;          // push, pull_request, manual, retry
  std::string ref;
  std::string commit_sha;
  std::string message;
  std::string author;
  std::string pipeline;              // its name
  std::vector<Diagnostic> errors;    // why it could not be planned
  std::optional<std::string> meaning;    // of the webhook: one build a meaning
  std::optional<BuildId> retry_of;
  BuildOrigin origin = {};
};

/// A build as loaded: state plus header.
struct BuildRecord {
  BuildHeader header;
  BuildState state;
};

/// Every job that fails waits so long for people before it ends.
void hold_on_failure(BuildRecord& record, Duration hold);

/// The build and its jobs as of one moment. Errc::not_found.
Task<Result<BuildRecord>> load_build(Database& db, BuildId id);
/// Errc::not_found.
Task<Result<std::int64_t>> sequence_of_build(Database& db, BuildId id);

/// A message that stands in the outbox until it is on the bus.
struct OutboxRow {
  std::string id;        // sorts by the time it was made
  std::string topic, key, payload;
};

/// The id that every row made before `at` is below.
std::string outbox_id_at(Time at);
std::optional<Time> outbox_time(std::string_view id);

/// The statements of one unit, and what of it is in the outbox once it is stored.
struct Change {
  std::vector<Statement> unit;
  std::vector<OutboxRow> outbox;
};

/// Inserts a new build, its jobs, history and events. Errc::conflict from the unit: its meaning has its build already.
Change insert_build(const BuildRecord& record, const Effects& effects, Clock& clock, Entropy& entropy);

/// Stores a change that apply() made to `after`; stands or falls with the build still being at `from_sequence`.
Change store_change(const BuildState& after, const Effects& effects, std::int64_t from_sequence,
                                    Clock& clock, Entropy& entropy);

struct LiveJob {
  JobId job;
  BuildId build;
  JobStatus status;
  AttemptId attempt;           // its current or last one; nil: none yet
};

/// Every job that is queued, assigned or running.
Task<Result<std::vector<LiveJob>>> live_jobs(Database& db);

/// Every job that holds a runner of this pool, or is to get one.
Task<Result<std::vector<LiveJob>>> jobs_of_pool(Database& db, std::string pool);

/// Jobs that hold runners, by pool.
struct PoolLoad {
  std::int64_t assigned = 0;
  std::int64_t running = 0;
};
Task<Result<std::map<std::string, PoolLoad>>> pool_loads(Database& db);

/// Errc::not_found.
Task<Result<BuildId>> build_of_job(Database& db, JobId job);

struct AttemptKey {
  AttemptId attempt;
  JobId job;
  BuildId build;
  Fence fence;
  std::string pool;
};

/// Errc::not_found.
Task<Result<AttemptKey>> find_attempt(Database& db, AttemptId attempt);

}  // namespace mayfly
