#pragma once
// Why an attempt ended, or why a job has the status it has. The vocabulary of the API and of executors.

#include <optional>
#include <string_view>

namespace mayfly {

enum class Reason {
  none,
  exit_code,       // the user's command said no
  oom,
  timeout,
  canceled,
  disk_full,
  service,         // a service of the job ended, or was not ready in time
  // Infrastructure: retried free.
  runner_lost,
  node_lost,       // with the machine it ran on
  image_pull,
  evicted,         // its machine needed the room, or was drained
  preempted,       // its place was given to something more important
  unschedulable,   // no machine of the pool could take it before the start deadline
  start_deadline,
  pool_lost,       // its pool has no keeper any more, and it had not begun: tried again at once, and not counted
  source,          // the commit could not be fetched
  isolation,       // weaker than it had to be
  // Infrastructure, and the same again if it were retried.
  refused,         // the pool cannot or may not run it: a quota, an admission rule, an isolation it lacks
  // Of a job that has no attempt.
  filtered,        // a filter or `if` left it out
  needs_failed,
  fail_fast,       // another job of its matrix failed
  pipeline,        // the pipeline could not be planned
};

std::string_view to_string(Reason);
std::optional<Reason> reason_from(std::string_view);

enum class Outcome { success, failure, timeout, canceled, infrastructure };

std::string_view to_string(Outcome);
std::optional<Outcome> outcome_from(std::string_view);

}  // namespace mayfly
