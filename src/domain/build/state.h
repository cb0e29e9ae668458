#pragma once
// A build and its jobs as one value, and the only rules by which it changes. Every role that moves a build (scheduler,
// runner API, reaper, cancel) does so by apply(): a pure function from state and event to state and effects. The caller
// stores the result by compare-and-set on the sequence, so whoever loses a race reads again and decides again.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "base/time.h"
#include "domain/build/reason.h"
#include "domain/pipeline/plan.h"
#include "domain/runner/protocol.h"

namespace mayfly {

enum class JobStatus { waiting, queued, assigned, running, succeeded, failed, canceled, skipped, cached };
enum class BuildStatus { queued, running, succeeded, failed, canceled };

std::string_view to_string(JobStatus);
std::optional<JobStatus> job_status_from(std::string_view);
std::string_view to_string(BuildStatus);
std::optional<BuildStatus> build_status_from(std::string_view);

constexpr bool is_terminal(JobStatus s) { return s >= JobStatus::succeeded; }
constexpr bool is_terminal(BuildStatus s) { return s >= BuildStatus::succeeded; }
constexpr bool is_success(JobStatus s) { return s == JobStatus::succeeded || s == JobStatus::cached; }

inline constexpr int max_infrastructure_retries = 3;
inline constexpr Duration start_deadline = std::chrono::seconds(120);   // assigned → first word of the runner
inline constexpr Duration cancel_grace = std::chrono::seconds(10);

/// How long an attempt that infrastructure lost waits before it is tried again: 1 s, 4 s, 16 s.
Duration infrastructure_backoff(int retries_so_far);

struct JobState {
  JobId id;
  std::shared_ptr<const JobSpec> spec;
  std::vector<std::size_t> needs;     // indices into BuildState::jobs, each lower than this job's own
  JobStatus status = JobStatus::waiting;
  Reason reason = Reason::none;
  std::string detail;                 // a sentence beside the reason
  int attempt = 0;                    // number of the current or last attempt, from 1
  Fence fence;
  AttemptId attempt_id;
  std::string pool;
  std::string runner_id;
  std::optional<Isolation> isolation; // what the current or last attempt ran under, as its runner said
  int infrastructure_retries = 0;
  int user_retries = 0;
  Time not_before{};                  // of a queued job: backoff
  std::optional<Time> queued_at, assigned_at, start_time, end_time;
  std::optional<Time> born_at;        // its runner began to be, between assigned_at and start_time
  std::optional<Time> first_byte_at;  // of its log, after start_time
  std::optional<Time> held_until;     // of a running job: a step failed, and people may look that long
  std::optional<int> exit_code;
  std::map<std::string, std::string> outputs;
  std::vector<StepState> steps;
  std::optional<TestReport> tests;
  std::int64_t log_bytes = 0;         // of the last attempt, once it has ended
  JobId source_job;                   // of a cached job: the job that did the work

  bool operator==(const JobState&) const = default;
};

struct BuildState {
  BuildId id;
  ProjectId project;
  OrganizationId organization;
  BuildStatus status = BuildStatus::queued;
  std::int64_t sequence = 0;          // grows with every change; what readers compare
  bool canceled = false;              // somebody asked; jobs that have not ended end as canceled
  TriggerEvent event;
  Time created_at{};
  std::optional<Time> start_time, end_time;
  std::vector<JobState> jobs;         // needs come first
};

// What can happen. Events of an attempt carry its fence; a stale one is refused with Errc::fenced.
struct Assign { JobId job; std::string pool; AttemptId attempt; };
struct Start { JobId job; Fence fence; std::string runner_id; std::optional<Isolation> isolation = {}; std::optional<Time> born_at = {}; };
struct ReportSteps { JobId job; Fence fence; std::vector<StepState> steps; std::optional<Time> first_byte_at = {}; std::optional<Time> held_until = {}; };
struct Finish { JobId job; Fence fence; FinishReport report; };
struct Lose { JobId job; Fence fence; Reason reason; std::string detail; };   // the platform or the reaper says so
struct CancelBuild { std::string who; };
struct CancelJob { JobId job; Reason reason; std::string detail; };
struct ReleaseJob { JobId job; std::string who; };            // it is held no longer

/// Somebody opened a shell in a job, or it was closed. Changes nothing but the history.
struct ShellNote {
  std::string shell;                  // its id
  std::string who;
  int attempt = 0;
  bool opened = true;
  Duration open_for{};                // of one that was closed
  std::optional<int> exit_code = {};
  std::string detail = {};

  bool operator==(const ShellNote&) const = default;
};
struct NoteShell { JobId job; ShellNote note; };

using BuildEvent = std::variant<Assign, Start, ReportSteps, Finish, Lose, CancelBuild, CancelJob, ReleaseJob, NoteShell>;

struct StopRunner {
  AttemptId attempt;
  std::string pool;
  bool operator==(const StopRunner&) const = default;
};

struct EndedAttempt {
  std::size_t job = 0;
  AttemptId attempt;
  int number = 0;
  Fence fence;
  Outcome outcome = Outcome::success;
  Reason reason = Reason::none;
  std::string detail;
  std::optional<int> exit_code;
  std::int64_t log_bytes = 0;
  std::vector<StepState> steps;
};

/// What the change asks of the world. Jobs are indices into BuildState::jobs.
struct Effects {
  std::vector<std::size_t> changed;       // each once, ascending
  std::vector<std::size_t> queued;        // became ready to run: a JobEvent each
  std::vector<EndedAttempt> ended;
  std::vector<StopRunner> stops;
  std::vector<std::pair<std::size_t, ShellNote>> shells;   // and the job each is about
  bool build_changed = false;             // its status, times or canceled flag
  bool steps_only = false;                // nothing but the progress of steps
  std::vector<std::size_t> first_bytes;   // jobs the first byte of whose log has become known

  bool empty() const { return changed.empty() && shells.empty() && !build_changed; }
};

/// Starts a planned build: skips what the plan left out, queues what needs nothing. Sequence becomes 1.
Effects begin(BuildState& build, Time now);

/// Errc::fenced: the event speaks for an attempt that is no longer current. Errc::conflict: it is not possible in this
/// state. Errc::not_found: no such job. On an error `build` is unchanged. No effects: it was known already.
/// Otherwise the sequence has grown by one.
Result<Effects> apply(BuildState& build, const BuildEvent& event, Time now);

const JobState* find_job(const BuildState&, JobId);

/// Fills JobState::needs from the specs' names. The planner has checked them: a missing one is a bug.
void link_needs(BuildState& build);

/// Whether `spec`'s condition lets the job run now that its needs have ended, and if not, why not.
struct Verdict {
  bool run = true;
  Reason reason = Reason::none;
  std::string detail;
};
Verdict judge(const BuildState& build, const JobState& job);

/// The job's spec with everything filled in that its needs have decided: as its runner gets it. Errc::invalid names what
/// cannot be evaluated.
Result<JobSpec> resolve_spec(const BuildState& build, const JobState& job);

}  // namespace mayfly
