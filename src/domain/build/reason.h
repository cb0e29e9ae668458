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
  // Infrastructure: retried free.
  runner_lost,
  image_pull,
  evicted,
  start_deadline,
  source,          // the commit could not be fetched
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
