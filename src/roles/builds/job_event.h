#pragma once
// JobEvent, the message on mayfly.jobs that a job is ready to run: {build_id, job_id, image, commands, env_vars}. It says what
// will be run to whoever follows the topic; Mayfly's own roles take only the ids from it. What it holds is what the pipeline
// says, so secrets are not in it: a job has only their names.

#include <cstddef>
#include <string>

#include "domain/build/state.h"
#include "ports/bus.h"

namespace mayfly {

/// With its key, a project's id, it fits a message of the bus.
inline constexpr std::size_t max_job_event_bytes = max_message_bytes - 36;

/// As JSON. Past max_job_event_bytes it leaves out the last commands and then variables that have no room, and says how many:
/// "left_out": {"commands": 3, "env_vars": 1, "image": 0}. No command is ever cut.
std::string job_event(BuildId build, JobId job, const JobSpec& spec);

}  // namespace mayfly
